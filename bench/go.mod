module github.com/aioring/aioring/bench

go 1.25.0

require (
	github.com/aioring/aioring v0.0.0
	github.com/anishathalye/porcupine v1.3.1
	github.com/puzpuzpuz/xsync/v4 v4.5.0
	golang.org/x/sys v0.47.0
	pgregory.net/rapid v1.3.0
)

require github.com/google/btree v1.1.3 // indirect

replace github.com/aioring/aioring => ../
