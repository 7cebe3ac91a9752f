package leg_test

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// TestNoFusedMultiplyAdd: a fused multiply-add rounds once where amd64 rounds
// twice, so samples would differ between architectures. The compiler may use one
// wherever a product is added without a conversion between.
func TestNoFusedMultiplyAdd(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-S", "../emodel", "../rtcp", "../leg", "../sample")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !regexp.MustCompile(`\tFMULD\t`).Match(out) {
		t.Error("no multiplication in the code: the listing is not what it was")
	}
	for _, line := range regexp.MustCompile(`(?m)^.*\tFN?M(ADD|SUB)[DS]\t.*$`).FindAll(out, 10) {
		t.Errorf("fused multiply-add: %s", line)
	}
}
