//go:build e2e

package installs

import (
	"os"
	"testing"

	"postoffice/internal/e2e/lan"
)

func TestMain(m *testing.M) { os.Exit(lan.Main(m)) }
