// Package worker makes blocking file calls on a bounded number of goroutines: all
// calls of the threads kernel, and with the other kernels those that POSIX AIO is
// not for (pipes, terminals, character devices, the file's own position).
//
// A [Call] goes in by [Pool.Submit] and comes back, once, by the function given to
// [New]. Between the two it is in one of three places:
//
//	Submit -> queue -> a goroutine makes the call -> done
//	            ^            |
//	            |            v  not ready
//	          poller <- waiting for readiness, or in line behind such a call
//
// Goroutines start when there is work and end when there is none. A call on a
// stream, which might wait for ever for somebody at the other end, is made only
// when it has something to do; until then it costs an entry in one poll(2), and so
// can be cancelled. A thousand of them cost one thread.
package worker
