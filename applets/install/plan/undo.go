package plan

import "slices"

// Merged is the record of two installations, one after the other.
func Merged(before, now []*Step) []*Step {
	all := slices.Clone(before)
	for _, s := range now {
		at := slices.IndexFunc(all, func(old *Step) bool { return same(old, s) })
		switch {
		case s.Do == Say:
		case at < 0:
			all = append(all, s)
		default:
			all[at] = s
		}
	}
	return all
}

// Uninstall is what of a record is to be taken back, in its order, and what stays, each
// once.
func Uninstall(record []*Step) (undo []*Step, stays []string) {
	for _, s := range slices.Backward(record) {
		switch {
		case s.Do == Group || s.Do == User || s.Do == Dir && s.Path == QueueDir:
			if !slices.Contains(stays, s.Path) {
				stays = append(stays, s.Path)
			}
		case s.Do == Run && s.Back == nil:
		default:
			undo = append(undo, s)
		}
	}
	return undo, stays
}
