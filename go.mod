module github.com/aioring/aioring

go 1.25.0

require (
	github.com/google/btree v1.1.3
	golang.org/x/sys v0.47.0
)
