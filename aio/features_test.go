//go:build unix

package aio_test

import (
	"errors"
	"testing"

	"github.com/aioring/aioring/aio"
	"github.com/aioring/aioring/aio/sim"
)

func TestFeaturesAreThoseOfTheVersion(t *testing.T) {
	for profile, want := range map[sim.Profile]aio.Features{
		sim.V13: {},
		sim.V14: {VectoredLists: true, ListFoffset: true},
		sim.V15: {VectoredLists: true, ListFoffset: true},
	} {
		k := sim.New(sim.Config{Profile: profile})
		if got, err := aio.LearnFeatures(k); err != nil || got != want {
			t.Errorf("%v: %+v, %v, want %+v", profile, got, err, want)
		}
		if l, _ := k.Limits(); l.QueueCount != 0 {
			t.Errorf("%v: %d jobs are left", profile, l.QueueCount)
		}
	}
}

// refusing is a kernel that refuses every list in one way.
type refusing struct {
	aio.Kernel
	list  aio.Errno
	entry aio.Errno // 0 leaves the entry untouched
}

func (k refusing) ListIO(_ aio.ListMode, list []*aio.ControlBlock, _ *aio.Sigevent) aio.Errno {
	if k.entry != 0 {
		list[0].StoreWords(-1, k.entry)
	}
	return k.list
}

func TestFeaturesAreNotGuessed(t *testing.T) {
	for name, c := range map[string]struct {
		k    refusing
		want aio.Errno
	}{
		"no slot is free":         {refusing{list: aio.EAGAIN, entry: aio.EAGAIN}, aio.EAGAIN},
		"no list is short enough": {refusing{list: aio.EINVAL}, aio.EINVAL},
		"another refusal":         {refusing{list: aio.EIO, entry: aio.EFAULT}, aio.EIO},
	} {
		if f, err := aio.LearnFeatures(c.k); !errors.Is(err, c.want) || f != (aio.Features{}) {
			t.Errorf("%s: %+v, %v, want %v", name, f, err, c.want)
		}
	}
}
