package backup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPolicyExpires(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	// at makes the nth archive, made some days ago.
	at := func(n int64, days int, change ...func(*Info)) Info {
		created := now.AddDate(0, 0, -days)
		info := Info{ID: NewID(created, n, KindFull), Kind: KindFull, Created: created, Verified: true}
		for _, c := range change {
			c(&info)
		}
		return info
	}
	damaged := func(i *Info) { i.Verified = false }
	before := func(upgrade string) func(*Info) { return func(i *Info) { i.Upgrade = upgrade } }
	for _, tc := range []struct {
		name   string
		policy Policy
		infos  []Info // newest first
		want   []int64
	}{
		{"nothing of nothing", Policy{KeepFull: 2}, nil, nil},
		{"all but the two newest go, oldest first", Policy{KeepFull: 2}, []Info{at(4, 0), at(3, 1), at(2, 2), at(1, 3)}, []int64{1, 2}},
		{"the last verified stays even if nothing is kept", Policy{}, []Info{at(2, 0), at(1, 1)}, []int64{1}},
		{"a damaged one counts for nothing", Policy{KeepFull: 2}, []Info{at(4, 0, damaged), at(3, 1), at(2, 2), at(1, 3)}, []int64{1}},
		{"the last verified stays though older than the kept", Policy{KeepFull: 1}, []Info{at(3, 0, damaged), at(2, 1, damaged), at(1, 2)}, nil},
		{"damaged ones go when newer whole ones make up for them", Policy{KeepFull: 2}, []Info{at(4, 0), at(3, 1), at(2, 2, damaged)}, []int64{2}},
		{"days keep more", Policy{KeepFull: 1, KeepDays: 2}, []Info{at(4, 0), at(3, 1), at(2, 2), at(1, 3)}, []int64{1, 2}},
		{
			"those before the last two upgrades stay",
			Policy{KeepFull: 1},
			[]Info{at(6, 0), at(5, 1, before("v4")), at(4, 2, before("v3")), at(3, 3, before("v3")), at(2, 4, before("v2")), at(1, 5)},
			[]int64{1, 2},
		},
		{"the sequence decides, not the clock", Policy{KeepFull: 1}, []Info{at(2, 300), at(1, 0)}, []int64{1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			gone, err := tc.policy.expired(tc.infos, now)
			if err != nil {
				t.Fatal(err)
			}
			var have []int64
			for _, info := range gone {
				_, n, _, _ := ParseID(info.ID)
				have = append(have, n)
			}
			if !slices.Equal(have, tc.want) {
				t.Errorf("want %v to go, have %v", tc.want, have)
			}
		})
	}
}

func TestPruneRemovesAndDryRunDoesNot(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "a"), "a")
	r := newRepo(t)
	var ids []string
	for range 3 {
		ids = append(ids, create(t, r, root, CreateOptions{}).ID)
	}
	listed := func() (have []string) {
		infos, err := r.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range infos {
			have = append(have, i.ID)
		}
		return have
	}
	for _, dry := range []bool{true, false} {
		gone, err := r.Prune(ctx, Policy{KeepFull: 2}, dry)
		if err != nil || len(gone) != 1 || gone[0].ID != ids[0] {
			t.Fatalf("want the first to go, have %v, %v", gone, err)
		}
		if want := map[bool]int{true: 3, false: 2}[dry]; len(listed()) != want {
			t.Errorf("dry run %v: want %d left, have %v", dry, want, listed())
		}
	}
	if left, _ := os.ReadDir(r.cfg.Dir); len(left) != 3 {
		t.Errorf("want two archives and the lock, have %v", left)
	}
}

func TestAClockThatWentBack(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "a"), "a")
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	r := newRepo(t)
	r.cfg.Now = func() time.Time { return now }
	first := create(t, r, root, CreateOptions{})
	now = now.AddDate(-1, 0, 0)
	second := create(t, r, root, CreateOptions{})
	third := create(t, r, root, CreateOptions{})
	infos, err := r.List()
	if err != nil || len(infos) != 3 || infos[0].ID != third.ID || infos[2].ID != first.ID {
		t.Fatalf("want them as they were made, have %v, %v", infos, err)
	}
	if gone, err := r.Prune(ctx, Policy{KeepFull: 2, KeepDays: 1}, false); !errors.Is(err, ErrClock) || len(gone) > 0 || !strings.Contains(err.Error(), first.ID) {
		t.Errorf("want rules of age refused, have %v, %v", gone, err)
	}
	gone, err := r.Prune(ctx, Policy{KeepFull: 2}, false)
	if err != nil || len(gone) != 1 || gone[0].ID != first.ID {
		t.Errorf("want the first made to go, have %v, %v", gone, err)
	}
	if err := r.Verify(context.Background(), second.ID, nil); err != nil {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "a"), "a")
	r := newRepo(t)
	info := create(t, r, root, CreateOptions{})
	for _, bad := range []string{"..", ".", "/etc", "20261123T043012Z-000042-full", "../" + info.ID} {
		if err := r.Remove(ctx, bad); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: want ErrNotFound, have %v", bad, err)
		}
	}
	if err := r.Remove(ctx, info.ID); err != nil {
		t.Fatal(err)
	}
	if infos, err := r.List(); err != nil || len(infos) > 0 {
		t.Errorf("have %v, %v", infos, err)
	}
}
