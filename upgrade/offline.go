package upgrade

import "context"

// Visit opens the journal of a volume that nobody supervises and takes up what
// lies on it, for List, Schedule, Prepare, Cancel and Retry. The caller has
// locked the volume. Nothing is repaired: that is Recover's, before the next
// first start.
func (u *Upgrader) Visit() error {
	if _, err := u.journal.Open(); err != nil {
		return err
	}
	u.look()
	return nil
}

// Prepare prepares a pending plan without Run, and returns how that went.
func (u *Upgrader) Prepare(ctx context.Context, name string) (Entry, error) {
	u.turn.Lock()
	defer u.turn.Unlock()
	if r := u.journal.read().record(name); r != nil && r.Stage.Pending() && !r.Held {
		u.enter(name, Preparing, "", nil)
		in, err := u.prepare(ctx, r)
		if ctx.Err() != nil {
			return Entry{}, ctx.Err()
		}
		u.prepared(r, in, err)
	}
	return u.Entry(name)
}
