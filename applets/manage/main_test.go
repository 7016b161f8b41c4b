package manage

import (
	"os"
	"testing"

	"postoffice/internal/testenv"
)

// TestMain runs no role: nothing here starts a server.
func TestMain(m *testing.M) { os.Exit(testenv.Main(m.Run, nil)) }
