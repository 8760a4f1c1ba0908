package backup

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Kinds of backup: the last part of an id.
const (
	KindSnapshot = "snapshot"
	KindFull     = "full"
)

const idTime = "20060102T150405Z"

// idForm keeps an id a plain file name, wherever it came from.
var idForm = regexp.MustCompile(`^([0-9]{8}T[0-9]{6}Z)-([0-9]{6,12})-([a-z]{1,16})$`)

// NewID returns the name of a backup, like 20261123T043012Z-000042-full. The
// sequence number decides the order; the clock, which may go back, is for people.
func NewID(now time.Time, sequence int64, kind string) string {
	return fmt.Sprintf("%s-%06d-%s", now.UTC().Format(idTime), sequence, kind)
}

// ParseID returns the parts of an id; ok is false for what is not one, so an id
// that parses names no other folder than its own.
func ParseID(id string) (at time.Time, sequence int64, kind string, ok bool) {
	m := idForm.FindStringSubmatch(id)
	if m == nil {
		return time.Time{}, 0, "", false
	}
	at, err := time.Parse(idTime, m[1])
	if err != nil {
		return time.Time{}, 0, "", false
	}
	sequence, err = strconv.ParseInt(m[2], 10, 64)
	return at, sequence, m[3], err == nil
}

// NextSequence returns a number above that of every id among names; names that
// are no ids count for nothing.
func NextSequence(names []string) int64 {
	var last int64
	for _, name := range names {
		_, n, _, _ := ParseID(name)
		last = max(last, n)
	}
	return last + 1
}

// sortNewestFirst orders by the sequence number of the id that each item has.
func sortNewestFirst[T any](items []T, id func(T) string) {
	slices.SortFunc(items, func(a, b T) int {
		_, m, _, _ := ParseID(id(a))
		_, n, _, _ := ParseID(id(b))
		return cmp.Or(cmp.Compare(n, m), cmp.Compare(id(b), id(a)))
	})
}
