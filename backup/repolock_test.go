package backup

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A child that is being started has every file of ours for a moment.
func TestARepositoryIsFreeAtOnce(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	if err := makeFolders(r.cfg.Dir); err != nil {
		t.Fatal(err)
	}
	l, err := r.lock("test")
	if err != nil {
		t.Fatal(err)
	}
	childs, err := unix.Dup(int(l.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(childs)
	l.Close()
	again, err := r.lock("test")
	if err != nil {
		t.Fatalf("want it free, have %v", err)
	}
	again.Close()
}
