package chain

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// meet finds out what consensus the node has, and where it tells of it: at its
// address, else over IPC where that has more.
func (w *watcher) meet(ctx context.Context) error {
	w.met = time.Now()
	var (
		found   *Client
		where   string
		who     identity
		ours    *identity // as the address told it
		refusal error
	)
	addresses := []string{w.cfg.Address}
	if w.cfg.IPC != "" {
		if sockets, err := filepath.Glob(w.cfg.IPC); err == nil {
			addresses = append(addresses, sockets[:min(len(sockets), maxSockets)]...)
		}
	}
	for i, address := range addresses {
		c, err := NewClient(address)
		if err != nil {
			return err
		}
		id, err := w.identify(ctx, c)
		if err == nil {
			id.kind = consensusOf(id)
			// The socket may be another node's, which even may be of this chain.
			if what := id.differs(w.facts()); what != "" {
				err = fmt.Errorf("%s is of another chain: %s", address, what)
			} else if ours != nil && (id.client != ours.client || id.version != ours.version) {
				err = fmt.Errorf("%s is another node's: %s %s", address, id.client, id.version)
			}
		}
		if err == nil && i == 0 {
			ours = &id
		}
		better := err == nil && (found == nil || len(lacks(id)) < len(lacks(who)) || who.kind == "" && id.kind != "")
		if !better {
			if refusal == nil {
				refusal = err
			}
			c.Close()
			continue
		}
		if found != nil {
			found.Close()
		}
		found, where, who = c, address, id
		if len(lacks(id)) == 0 && (id.kind != "" || found.target.via == viaIPC) {
			break
		}
	}
	if found == nil {
		return &silenceError{refusal}
	}
	if who.genesis != "" && who.genesis != w.genesis { // heights of two chains don't compare
		w.memory = newMemory()
		w.genesis = who.genesis
	}
	w.swap(found, len(lacks(who)) == 0)
	w.address = where
	w.known.Kind, w.known.Err = who.kind, ""
	if who.kind != "" && !who.offers(essential[who.kind]) {
		w.known.Kind = ""
		w.known.Err = fmt.Sprintf("the %s namespace of this %s node is not offered at %s", essential[who.kind], who.kind, where)
	}
	w.refused["admin_nodeInfo"] = !who.offers("admin") // not worth a question
	return nil
}

// identify gives each address its own time: one that hangs leaves some to others.
func (w *watcher) identify(ctx context.Context, c *Client) (identity, error) {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	return identify(ctx, c)
}

// essential is the namespace without which there is nothing to see.
var essential = map[string]string{WBFT: "istanbul", QBFT: "istanbul", Clique: "clique", Wemix: "admin"}

// lacks returns which of the namespaces we want a node does not offer where it
// was asked.
func lacks(id identity) []string {
	want := []string{"eth", "admin"}
	switch id.kind {
	case "":
	case Wemix:
		want = append(want, "debug") // etcdGet
	default:
		want = append(want, essential[id.kind])
	}
	return slices.DeleteFunc(want, id.offers)
}

// consensusOf chooses the adapter.
func consensusOf(id identity) string {
	if id.kind != Geth {
		return id.kind
	}
	if id.offers("clique") {
		return Clique
	}
	return ""
}

// settle asks for the chain's rules, which stay the same while the process lives.
func (w *watcher) settle(ctx context.Context) error {
	w.settled = time.Now()
	var info rawAnswer
	b := w.batch()
	b.add("admin_nodeInfo", &info, func() { w.config = readNodeInfo(info) })
	return b.send(ctx)
}
