//go:build race

package deliver

// raced: this is the race detector's run, and so slow.
const raced = true
