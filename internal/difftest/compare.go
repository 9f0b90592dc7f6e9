package difftest

import (
	"fmt"
	"slices"
)

// Compare says where an outcome is not what was foreseen: a line for each difference.
func Compare(f *Foreseen, got *Outcome) []string {
	var all []string
	differ := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for data := uint64(0); data <= 64; data++ {
		if w, g := f.Results[data], got.Results[data]; !slices.Equal(w, g) {
			differ("%d ended with %v, not %v", data, g, w)
		}
		if w, g := f.Got[data], got.Got[data]; w != g {
			differ("%d read %.16q..., not %.16q...", data, g, w)
		}
	}
	at := map[uint64]int{}
	for i, data := range got.Order {
		at[data] = i
	}
	for data := uint64(1); data <= 64; data++ {
		for _, first := range f.Before[data] {
			a, ok1 := at[first]
			b, ok2 := at[data]
			if ok1 && ok2 && a > b {
				differ("%d ended before %d: %v", data, first, got.Order)
			}
		}
	}
	if !slices.Equal(f.Submitted, got.Submitted) {
		differ("the submissions took %v, not %v", got.Submitted, f.Submitted)
	}
	if !slices.Equal(f.Cancelled, got.Cancelled) {
		differ("the synchronous cancellations found %v, not %v", got.Cancelled, f.Cancelled)
	}
	for i := range f.Files {
		if f.Files[i] != got.Files[i] {
			differ("file %d has %s", i, where(f.Files[i], got.Files[i]))
		}
	}
	return all
}

// where says in which blocks contents differ.
func where(want, got string) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d bytes, not %d", len(got), len(want))
	}
	var blocks []int
	for i := range Blocks {
		if want[i*BlockSize:(i+1)*BlockSize] != got[i*BlockSize:(i+1)*BlockSize] {
			blocks = append(blocks, i)
		}
	}
	return fmt.Sprintf("other contents in blocks %v", blocks)
}
