// Package bench measures aioring against what else a program could do, in the
// same run: only ratios mean anything.
package bench
