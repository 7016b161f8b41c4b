package checkrelay

import (
	"os"
	"testing"

	"postoffice/internal/testenv"
)

// TestMain: no test here is to start a child.
func TestMain(m *testing.M) { os.Exit(testenv.Main(m.Run, nil)) }
