package nearest

import (
	"postoffice/internal/smtp"
)

// Name is the name that takes the fewest single changes to get from word,
// "" if that would be more than a third of it.
func Name(word string, names []string) string { return Within(max(1, len(word)/3), word, names) }

// Within is the name that takes the fewest single changes to get from word, "" if that
// would be more than most.
func Within(most int, word string, names []string) string {
	best, least := "", most+1
	for _, n := range names {
		if d := distance(smtp.Fold(word), n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance counts the letters to be put in, taken out, replaced or swapped
// with their neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > 64 { // no word of ours is that long, and the work is len(a)·len(b)
		return len(a)
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
