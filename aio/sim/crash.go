//go:build unix

package sim

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
)

// Damage is what a medium does to sectors besides losing what was not synced. Each is a
// probability, from 0 to 1, for each sector that it may befall.
type Damage struct {
	// Torn: a sector that was being written has the new bytes up to somewhere in
	// it, and then the old ones.
	Torn float64
	// Misdirected: what was written to a sector went to another one, of any file,
	// synced or not.
	Misdirected float64
	// Rotten: a sector, synced or not, has some bits turned over. Nothing tells but
	// a checksum.
	Rotten float64
}

// Seeds of [Disk.CrashClone] that draw nothing.
const (
	CrashLoseAll uint64 = 0 // nothing is there but what was synced
	CrashKeepAll uint64 = 1 // everything is there
)

// CrashClone is a disk as the power may leave this one if it is cut now: of what was not
// synced any part, chosen by the seed. d stays as it is. On the clone everything is
// durable and the power is on.
//
// Seeds 0 and 1 are the ends, CrashLoseAll and CrashKeepAll. The same seed gives the
// same clone, of the same disk, always.
func (d *Disk) CrashClone(seed uint64, damage ...Damage) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &crash{from: d, to: NewDisk(d.cfg), names: make(map[*node]map[string]*node), seed: seed}
	c.rng.Seed(seed, 0xa0761d6478bd642f)
	for _, m := range damage {
		c.damage.Torn += m.Torn
		c.damage.Misdirected += m.Misdirected
		c.damage.Rotten += m.Rotten
	}
	// Some power cuts take nearly all, some nearly nothing.
	c.keeps = []float64{1. / 8, 1. / 2, 7. / 8}[c.below(3)]
	c.replay()
	c.directory(d.root, c.to.root, "")
	c.mishaps()
	return c.to
}

// Lost says what CrashClone has left out of this disk, or damaged in it, one line
// each.
func (d *Disk) Lost() []string { return d.damage }

// crash is a power cut.
type crash struct {
	from, to *Disk
	seed     uint64
	rng      rand.PCG
	damage   Damage
	keeps    float64                    // with this probability something unsynced is there
	names    map[*node]map[string]*node // of the directories of from
	files    []*node                    // of to, in the order of their paths
	astray   [][]byte                   // sectors that went elsewhere
}

// below draws from [0, n). It is ours, because the streams of math/rand/v2's own may
// change with Go's version.
func (c *crash) below(n int) int {
	hi, _ := bits.Mul64(c.rng.Uint64(), uint64(n))
	return int(hi)
}

// chance holds with a probability.
func (c *crash) chance(p float64) bool {
	return float64(c.rng.Uint64()>>11)/(1<<53) < p
}

// keep draws whether something that was not synced is there.
func (c *crash) keep() bool {
	switch c.seed {
	case CrashLoseAll:
		return false
	case CrashKeepAll:
		return true
	}
	return c.chance(c.keeps)
}

func (c *crash) lose(format string, args ...any) {
	c.to.damage = append(c.to.damage, fmt.Sprintf(format, args...))
}

// replay is what becomes of the names.
func (c *crash) replay() {
	lost := make(map[*change]bool)
	for _, ch := range c.from.pending {
		if slices.ContainsFunc(ch.after, func(earlier *change) bool { return lost[earlier] }) || !c.keep() {
			lost[ch] = true
			c.lose("not done: %s", ch.what)
			continue
		}
		for _, s := range ch.sets {
			s.commit(c.in(s.dir))
		}
	}
}

// in is the names that a directory has after the power cut.
func (c *crash) in(dir *node) map[string]*node {
	names, ok := c.names[dir]
	if !ok {
		names = make(map[string]*node, len(dir.synced))
		for name, n := range dir.synced {
			names[name] = n
		}
		c.names[dir] = names
	}
	return names
}

// directory copies what a directory has.
func (c *crash) directory(from, to *node, at string) {
	names := c.in(from)
	for _, name := range sortedNames(names) {
		n := names[name]
		twin := c.to.newNode(n.dir)
		twin.name, twin.named = name, true
		to.entries[name], to.synced[name] = twin, twin
		if n.dir {
			c.directory(n, twin, at+name+"/")
			continue
		}
		c.file(n, twin, at+name)
		c.to.used += int64(len(twin.data))
		c.files = append(c.files, twin)
	}
}

// file is what a file has after the power cut.
func (c *crash) file(from, to *node, name string) {
	size, upTo := from.before, uint64(0)
	if n := len(from.sizes); n > 0 {
		i := n // of the sizes that it may have: that at the last sync comes first
		switch {
		case c.seed == CrashLoseAll:
			i = 0
		case c.seed != CrashKeepAll && !c.chance(c.keeps):
			i = c.below(n + 1)
		}
		if i > 0 {
			size, upTo = from.sizes[i-1].size, from.sizes[i-1].seq
		}
		if i < n {
			c.lose("%s: %d bytes long, not %d", name, size, len(from.data))
		}
	}
	to.data = make([]byte, size)
	copy(to.data, from.data)
	numbers := make([]int64, 0, len(from.sectors))
	for s := range from.sectors {
		numbers = append(numbers, s)
	}
	slices.Sort(numbers)
	for _, s := range numbers {
		p := c.sector(from.sectors[s], upTo, name, s)
		if off := s * int64(len(p)); off < size {
			copy(to.data[off:], p)
		}
	}
	to.before = size
}

// sector is what a sector has that was written since the last sync. upTo is the last
// change of the file's size that has happened: what later ones did has not.
func (c *crash) sector(from *sector, upTo uint64, name string, number int64) []byte {
	base := from.before
	var written []version
	for _, v := range from.since {
		switch {
		case !v.cut:
			written = append(written, v)
		case v.seq <= upTo:
			base, written = v.data, nil
		}
	}
	if len(written) == 0 {
		return base
	}
	last := len(written) - 1
	if !c.keep() {
		c.lose("%s: sector %d not written", name, number)
		return base
	}
	if c.seed > CrashKeepAll && last > 0 && c.chance(0.25) {
		last = c.below(last)
		c.lose("%s: sector %d as it was %d writes before the last", name, number, len(written)-1-last)
	}
	data := written[last].data
	switch {
	case c.chance(c.damage.Misdirected):
		c.lose("%s: sector %d went elsewhere", name, number)
		c.astray = append(c.astray, data)
		return base
	case c.chance(c.damage.Torn):
		n := 1 + c.below(len(data)-1)
		c.lose("%s: sector %d torn after %d bytes", name, number, n)
		return append(slices.Clone(data[:n]), base[n:]...)
	}
	return data
}

// mishaps is what becomes of sectors that nobody has written.
func (c *crash) mishaps() {
	size := c.to.cfg.SectorSize
	sectors := 0
	for _, n := range c.files {
		sectors += (len(n.data) + size - 1) / size
	}
	// at finds a sector by its number on the whole disk.
	at := func(number int) (*node, []byte) {
		for _, n := range c.files {
			if has := (len(n.data) + size - 1) / size; number >= has {
				number -= has
				continue
			}
			p := n.data[number*size:]
			return n, p[:min(len(p), size)]
		}
		panic("sim: no such sector")
	}
	for _, data := range c.astray {
		if sectors > 0 {
			n, p := at(c.below(sectors))
			copy(p, data)
			c.lose("%s: a sector has what was another's", n.name)
		}
	}
	if c.damage.Rotten <= 0 {
		return
	}
	for number := range sectors {
		if c.chance(c.damage.Rotten) {
			n, p := at(number)
			for range 1 + c.below(8) {
				p[c.below(len(p))] ^= 1 << c.below(8)
			}
			c.lose("%s: a sector is rotten", n.name)
		}
	}
}

// T is what [EachCrash] needs of a *testing.T.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Crashes says which power cuts a program has to survive. The zero value is what
// [EachCrash] does.
type Crashes struct {
	// Disk makes the disk of each run; nil: an empty one.
	Disk func() *Disk
	// Points bounds the number of crash points; they are then spread evenly. 0 is
	// all there are.
	Points int
	// Seeds is how many images are checked at each point: CrashLoseAll, CrashKeepAll
	// and so on. 0 is 8.
	Seeds int
	// Damage is done to each image but the first two.
	Damage Damage
}

// EachCrash runs a program, cuts the power at each point where that makes a
// difference, and has the outcome checked.
//
// run does its work on an empty disk and returns. It is called once to the end, where
// an error is a failure, and then once for each crash point: with the power cut before
// the first call that changes or syncs something, before the second, and so on.
// From there on every call fails with EIO; errors that run returns then are as they
// should be. A run that acknowledges something writes that down in variables of the
// test, and sets them back at its beginning. When it returns, nothing of it may be at
// work any more.
//
// check is called several times after each run, with a disk as the power cut may have
// left it, see [Disk.CrashClone]. It recovers as the program would after a restart, and
// returns an error if something is missing that was acknowledged.
//
// A failure names the point, the seed and what was lost; [OneCrash] repeats it alone,
// as far as run does the same again.
func EachCrash(t T, run, check func(d *Disk) error) {
	t.Helper()
	Crashes{}.Each(t, run, check)
}

// OneCrash is EachCrash at one point and with one seed.
func OneCrash(t T, point int, seed uint64, run, check func(d *Disk) error) {
	t.Helper()
	Crashes{}.One(t, point, seed, run, check)
}

// Each is [EachCrash] of these power cuts. It returns how many images were checked.
func (c Crashes) Each(t T, run, check func(d *Disk) error) (images int) {
	t.Helper()
	d := c.make()
	first := d.Ops()
	if err := run(d); err != nil {
		t.Fatalf("sim: without a power cut: %v", err)
		return 0
	}
	points := d.Ops() - first
	seeds := c.Seeds
	if seeds <= 0 {
		seeds = 8
	}
	step := 1
	if c.Points > 0 && points >= c.Points {
		step = (points + c.Points) / c.Points
	}
	for point := 0; point <= points; point += step {
		d := c.make()
		d.CutPowerAfter(point)
		_ = run(d) // the power is cut, and it says so
		for seed := range uint64(seeds) {
			images++
			if !c.check(t, d, point, seed, check) {
				return images
			}
		}
	}
	return images
}

// One is [OneCrash] of these power cuts.
func (c Crashes) One(t T, point int, seed uint64, run, check func(d *Disk) error) {
	t.Helper()
	d := c.make()
	d.CutPowerAfter(point)
	_ = run(d) // the power is cut, and it says so
	c.check(t, d, point, seed, check)
}

func (c Crashes) make() *Disk {
	if c.Disk != nil {
		return c.Disk()
	}
	return NewDisk(DiskConfig{})
}

func (c Crashes) check(t T, d *Disk, point int, seed uint64, check func(d *Disk) error) bool {
	t.Helper()
	var damage Damage
	if seed > CrashKeepAll {
		damage = c.Damage
	}
	image := d.CrashClone(seed, damage)
	lost := slices.Clone(image.Lost())
	err := check(image)
	if err == nil {
		return true
	}
	before := "at the end"
	if d.missed != "" {
		before = "before " + d.missed
	}
	if n := len(lost); n > 20 {
		lost = append(lost[:20], fmt.Sprintf("and %d more", n-20))
	}
	t.Fatalf("sim: power cut %s (point %d, seed %d): %v\n\t%s", before, point, seed, err, strings.Join(lost, "\n\t"))
	return false
}
