// Package ring holds the two bounded lock-free rings of the library and the
// strategy by which their consumers wait.
//
//   - [MPSC]: any number of producers, one consumer. The submission side: user
//     goroutines push batches of entries, whoever owns the engine takes them.
//   - [SPSC]: one producer, one consumer. The completion side.
//   - [Parker]: spin a little, then sleep until woken; no timer anywhere.
//
// Items travel by value. A push takes the whole batch or none of it, never
// waits, and says by its [Status] why it took nothing. A pop never waits
// either: it takes what is there. Neither allocates. To wait is the caller's
// choice, with a Parker:
//
//	producer                          consumer
//	q.PushN(items)                    p.Wait(func() bool { return !q.Empty() || q.Drained() })
//	p.Wake()                          n := q.PopBatch(dst)
//
// Producers who find no room wait likewise, at a Parker of theirs, in turns. To wait
// for more than one place spares them a sleep and a wake-up for each:
//
//	producer                                                 consumer
//	turn.Lock()                                              if n == 0 || half of it was taken since {
//	room.Wait(func() bool { return q.Len() <= q.Cap()/2 })       room.Wake()
//	turn.Unlock()                                            }
//
// The rings are closed from any goroutine. What was accepted before the close
// is still delivered; Drained tells the consumer that it has had everything.
package ring
