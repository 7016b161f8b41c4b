package cmdline

// Text is a flag with a value that knows whether it was given: an empty value,
// as a shell leaves of a variable without one, is not the same as none.
type Text struct {
	Value string
	Given bool
}

// Given returns the Text of a flag that was given with a value.
func Given(value string) Text { return Text{value, true} }

// Set implements pflag.Value.
func (t *Text) Set(value string) error {
	*t = Given(value)
	return nil
}

// String implements pflag.Value.
func (t *Text) String() string { return t.Value }

// Type implements pflag.Value.
func (t *Text) Type() string { return "string" }
