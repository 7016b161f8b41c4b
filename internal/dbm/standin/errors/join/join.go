// Package join is Join by itself.
package join

import "errors"

// Join makes one error of those that aren't nil.
func Join(errs ...error) error { return errors.Join(errs...) }
