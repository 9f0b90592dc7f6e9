package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// text is the facts for people.
func (f *probeFacts) text() string {
	var b strings.Builder
	section := func(title string, rows func(row func(cells ...string))) {
		var body strings.Builder
		w := tabwriter.NewWriter(&body, 0, 0, 2, ' ', 0)
		rows(func(cells ...string) { fmt.Fprintf(w, "  %s\n", strings.Join(cells, "\t")) })
		_ = w.Flush()
		if body.Len() == 0 {
			return
		}
		fmt.Fprintf(&b, "%s\n", title)
		for line := range strings.Lines(body.String()) {
			b.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
		b.WriteString("\n")
	}
	section("system", f.systemRows)
	section("limits", func(row func(...string)) {
		for _, l := range f.Limits {
			value := "?"
			if l.Value != nil {
				value = fmt.Sprint(*l.Value)
			}
			meaning := l.Meaning
			if l.Value != nil && l.Default != nil && *l.Value != *l.Default {
				meaning += fmt.Sprintf(" (default %d)", *l.Default)
			}
			row(l.Name, value, meaning)
		}
		for _, l := range f.Limits {
			if l.Error != "" {
				row(l.Error)
				break // the others say the same
			}
		}
	})
	section("features", func(row func(...string)) {
		for _, x := range f.Features {
			row(x.Name, yesNo(x.Has), x.Known)
		}
	})
	section("io_uring", f.uringRows)
	for i := range f.Paths {
		section(f.Paths[i].Path, f.Paths[i].rows)
	}
	section("warnings", func(row func(...string)) {
		for _, w := range f.Warnings {
			row(w)
		}
	})
	section("verdict", func(row func(...string)) {
		for _, w := range f.Verdict.Words {
			row(w)
		}
	})
	f.Verdict.lines(&b)
	return strings.TrimSuffix(b.String(), "\n")
}

func (f *probeFacts) systemRows(row func(...string)) {
	s := &f.System
	row("kernel", strings.TrimSpace(s.OS+" "+s.Release), s.Machine)
	if s.Version != "" {
		row("version", s.Version)
	}
	if s.Osreldate != 0 {
		words := fmt.Sprint(s.Osreldate)
		if s.Jail != nil && *s.Jail {
			words += ", or whatever the jail's creator made of it"
		}
		row("osreldate", words)
	}
	if s.Jail != nil {
		row("jail", yesNo(s.Jail))
	}
	if s.Vnet != nil {
		row("vnet", yesNo(s.Vnet))
	}
	if s.Hypervisor != "" {
		row("hypervisor", s.Hypervisor)
	}
	if s.CapabilityMode != nil && *s.CapabilityMode {
		row("capability mode", "yes: limits and paths are hidden, AIO works")
	}
	if f.Kernel != "" {
		row("a ring runs on", f.Kernel)
	} else {
		row("a ring runs on", "nothing: "+f.KernelError)
	}
}

func (f *probeFacts) uringRows(row func(...string)) {
	u := f.IOURing
	if u == nil {
		return
	}
	row("available", yesNo(&u.Available))
	if u.Error != "" {
		row("io_uring_setup", u.Error)
	}
	if u.ForbiddenBy != "" {
		row("because of", u.ForbiddenBy)
	}
	if u.Disabled != nil {
		row("io_uring_disabled", fmt.Sprint(*u.Disabled))
	}
	row("seccomp", [...]string{"none", "strict", "filter"}[min(max(u.Seccomp, 0), 2)])
	if !u.Available {
		return
	}
	wrapped := func(name string, words []string) {
		for len(words) > 0 {
			n := min(8, len(words))
			row(name, strings.Join(words[:n], " "))
			name, words = "", words[n:]
		}
	}
	wrapped("features", u.Features)
	row("opcodes", fmt.Sprintf("%d, up to number %d", len(u.Opcodes), u.LastOpcode))
	wrapped("without", u.Missing)
}

func (p *pathFact) rows(row func(...string)) {
	if p.Type != "" {
		row("type", p.Type)
	}
	if fs := p.Filesystem; fs != nil {
		words := fs.Type
		if fs.Mounted != "" {
			words += " on " + fs.Mounted
		}
		if fs.From != "" {
			words += " from " + fs.From
		}
		if fs.Local != nil && !*fs.Local {
			words += ", not local"
		}
		row("file system", words)
	}
	row("accepted", yesNo(&p.Accepted))
	if len(p.Tried) > 0 {
		row("tried", strings.Join(p.Tried, ", "))
	}
	if p.Error != "" {
		row("error", p.Error)
	}
	if p.Note != "" {
		row("note", p.Note)
	}
	if p.Alignment != nil {
		row("alignment", p.Alignment.Words)
	}
}

// lines are those for sysctl.conf, as they can be pasted there.
func (v *verdict) lines(b *strings.Builder) {
	for _, needed := range []bool{true, false} {
		first := true
		for _, s := range v.Sysctls {
			if s.Needed != needed {
				continue
			}
			if first {
				why := "what serves it"
				if !needed {
					why = "optional: to run all of it at once on file systems"
				}
				fmt.Fprintf(b, "# for %s: %s\n", v.File, why)
				first = false
			}
			fmt.Fprintf(b, "# now %d; costs %s\n%s\n", s.Now, s.Cost, s.Line)
		}
		if !first {
			b.WriteString("\n")
		}
	}
}

// yesNo is a yes, a no, or not known.
func yesNo(b *bool) string {
	switch {
	case b == nil:
		return "?"
	case *b:
		return "yes"
	}
	return "no"
}
