package difftest

import (
	"fmt"
	"slices"
	"strings"
)

// Go is the program as a Go program that prints its completions on a kernel.
func (p *Program) Go(kernel string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "\t"+format+"\n", args...) }
	b.WriteString(`package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/aioring/aioring"
)

func main() {
	file := [2]*os.File{}
	for i := range file {
		file[i], _ = os.CreateTemp("", "")
		file[i].Write(make([]byte, 2048))
	}
	sealed, _ := os.Open(file[0].Name())
	var rd, wr [3]*os.File
	for i := range rd {
		rd[i], wr[i], _ = os.Pipe()
	}
	sqe := func(s aioring.SQE) *aioring.SQE { return &s }
	var s []*aioring.SQE
	_, _, _, _ = sealed, time.Hour, context.Background(), wr
`)
	opts := fmt.Sprintf("aioring.WithKernel(%q)", kernel)
	if p.CQ != 0 {
		opts += fmt.Sprintf(", aioring.WithCQSize(%d)", p.CQ)
	}
	if p.SubmitAll {
		opts += ", aioring.WithSubmitAll()"
	}
	if p.Worker {
		opts += ", aioring.WithWorker()"
	}
	line("r, err := aioring.New(%d, %s)", p.Entries, opts)
	line("if err != nil {\n\t\tpanic(err)\n\t}")
	line("settle := func() {")
	line("\tfor c, err := r.WaitCQETimeout(time.Second); err == nil; c, err = r.WaitCQETimeout(time.Second) {")
	line("\t\tfmt.Println(*c)\n\t\tr.CQESeen(c)\n\t}\n\t}")
	steps := p.Steps
	if f, err := Foresee(p, Departures{}); err == nil {
		steps = slices.Concat(steps, f.Ending)
	}
	for i := range steps {
		s := &steps[i]
		switch s.Verb {
		case Put:
			o := &s.Op
			line("s = append(s, sqe(aioring.SQE{}))")
			line("%s", o.prep())
			line("s[len(s)-1].UserData, s[len(s)-1].Flags = %d, %#x", o.Data, flags(o))
		case Submit:
			line("for _, e := range s {\n\t\t*r.GetSQE() = *e\n\t}\n\ts = nil")
			line("fmt.Println(r.Submit())")
		case Push:
			line("{\n\t\tvar all []aioring.SQE\n\t\tfor _, e := range s {\n\t\t\tall = append(all, *e)\n\t\t}\n\t\tfmt.Println(r.Push(all...))\n\t}\n\ts = nil")
		case Settle:
			line("settle()")
		case Feed:
			line("wr[%d].Write(make([]byte, %d))", s.Pipe, s.N)
		case Hangup:
			line("wr[%d].Close()", s.Pipe)
		case CancelS:
			line("{\n\t\tvar c aioring.SQE\n\t\taioring.PrepCancel(&c, %d, 0)\n\t\tfmt.Println(r.CancelSync(context.Background(), c))\n\t}", s.Target)
		}
	}
	line("settle()")
	b.WriteString("}\n")
	return b.String()
}

// prep is the call that prepares an operation's entry, s[len(s)-1].
func (o *Op) prep() string {
	const e = "s[len(s)-1]"
	call := func(name, args string) string { return fmt.Sprintf("aioring.Prep%s(%s%s)", name, e, args) }
	fd := fmt.Sprintf("file[%d].Fd()", o.File)
	bytes, off := o.N*BlockSize, o.Block*BlockSize
	switch o.Code {
	case Nop:
		if o.Res != 0 {
			return fmt.Sprintf("%s.OpFlags, %s.Len = aioring.NopInjectResult, %d", e, e, uint32(int32(o.Res)))
		}
		return call("Nop", "")
	case Read:
		return call("Read", fmt.Sprintf(", int(%s), make([]byte, %d), %d", fd, bytes, off))
	case Write:
		return call("Write", fmt.Sprintf(", int(%s), make([]byte, %d), %d", fd, bytes, off))
	case Readv, Writev:
		name := map[Code]string{Readv: "Readv", Writev: "Writev"}[o.Code]
		return call(name, fmt.Sprintf(", int(%s), [][]byte{make([]byte, %d), make([]byte, %d)}, %d", fd, BlockSize/2, bytes-BlockSize/2, off))
	case Fsync:
		return call("Fsync", fmt.Sprintf(", int(%s), %d", fd, o.badFlag()))
	case FsyncPipe:
		return call("Fsync", fmt.Sprintf(", int(rd[%d].Fd()), 0", o.Pipe))
	case ReadPipe:
		return call("Read", fmt.Sprintf(", int(rd[%d].Fd()), make([]byte, %d), aioring.CurrentPosition", o.Pipe, o.N))
	case WritePipe:
		return call("Write", fmt.Sprintf(", int(wr[%d].Fd()), make([]byte, %d), aioring.CurrentPosition", o.Pipe, o.N))
	case ReadNone:
		return call("Read", fmt.Sprintf(", %d, make([]byte, 8), 0", notOpen))
	case WriteSealed:
		return call("Write", ", int(sealed.Fd()), make([]byte, 8), 0")
	case Timeout:
		f := o.badFlag()
		text := fmt.Sprint(f)
		if o.ETime {
			text += "|aioring.TimeoutETimeSuccess"
		}
		if o.Multishot {
			text += "|aioring.TimeoutMultishot"
		}
		return call("Timeout", fmt.Sprintf(", %d*time.Millisecond, %d, %s", o.Ms, o.N, text))
	case Remove:
		return call("TimeoutRemove", fmt.Sprintf(", %d, %d", o.Target, o.badFlag()))
	case Update:
		return call("TimeoutUpdate", fmt.Sprintf(", %d*time.Millisecond, %d, 0", o.Ms, o.Target))
	case Cancel, CancelPipe:
		flags := fmt.Sprint(o.badFlag())
		if o.All {
			flags += "|aioring.CancelAll"
		}
		switch {
		case o.Code == CancelPipe:
			return call("CancelFd", fmt.Sprintf(", int(rd[%d].Fd()), %s", o.Pipe, flags))
		case o.Any:
			return call("Cancel", ", 0, aioring.CancelAny|"+flags)
		case o.ByOp:
			return call("CancelOp", ", aioring.OpRead, "+flags)
		}
		return call("Cancel", fmt.Sprintf(", %d, %s", o.Target, flags))
	case LinkTimeout:
		return call("LinkTimeout", fmt.Sprintf(", %d*time.Millisecond, 0", o.Ms))
	}
	return e + ".Opcode = 250"
}

// badFlag is a flag that there is none of, if the operation is to have one.
func (o *Op) badFlag() uint32 {
	if o.Bad {
		return 1 << 30
	}
	return 0
}
