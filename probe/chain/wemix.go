package chain

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// wemixInfo is the part of admin_wemixInfo that matters here.
type wemixInfo struct {
	Interval int64       `json:"blockInterval"` // milliseconds
	Self     *wemixNode  `json:"self"`
	Nodes    []wemixNode `json:"nodes"`
	Etcd     struct {
		Members []etcdMember `json:"members"`
		Self    *etcdMember  `json:"self"`
		Leader  *etcdMember  `json:"leader"`
	} `json:"etcd"`
}

type etcdMember struct {
	Name string `json:"name"`
}

// wemixNode is one of admin_wemixInfo's nodes or of admin_wemixNodes' answer.
// The address is the account in the first and the socket in the second.
type wemixNode struct {
	Name   string `json:"name"`
	Addr   string `json:"addr"`
	Status string `json:"status"`
	Height uint64 `json:"latestBlockHeight"`
}

// wemixToken is what lies in etcd under "token". Who holds it may mine.
type wemixToken struct {
	Miner string `json:"miner"`
	Till  int64  `json:"till"` // Unix seconds
}

// wemix asks a go-wemix node. Its members take turns by a token in etcd, and
// all stands without etcd's majority; who sealed last says little there.
func (w *watcher) wemix(ctx context.Context, head sealedHeader, c *Consensus) error {
	if head.Hash == w.known.Head.Hash {
		c.Head = w.known.Head // seen before
	}
	const list = "admin_wemixInfo"
	var (
		info   *wemixInfo
		nodes  []wemixNode
		token  string
		upTold bool
	)
	b := w.batch()
	b.add(list, &info, func() {})
	b.add("admin_wemixNodes", &nodes, func() { upTold = nodes != nil }, "", 0)
	b.add("debug_etcdGet", &token, func() {}, "token")
	b.addBlocks(head, max(w.n, 1), "")
	if err := b.send(ctx); err != nil {
		return err
	}
	switch {
	case w.refused[list]:
		w.off(c, list)
		return nil
	case info == nil && w.n > 0: // there was governance before
		if err := b.errOf(list); err != nil {
			return err
		}
		return fmt.Errorf("%s: no answer", list)
	case info == nil: // before governance is deployed the method crashes
		c.Err = "no governance to ask about"
		if b.err != nil {
			c.Err += ": " + oneLine(b.err)
		}
		return nil
	}
	names := make(map[string]string)
	var members []string
	for _, n := range info.Nodes[:min(len(info.Nodes), maxValidators)] {
		if a, ok := address(n.Addr); ok {
			names[a] = clip(n.Name, 64)
			members = append(members, a)
		}
	}
	set, err := addresses(members)
	if err != nil {
		return err
	}
	w.n, w.self = len(set), ""
	if info.Self != nil {
		w.self, _ = address(info.Self.Addr)
	}
	c.Self = w.self
	if info.Interval > 0 && info.Interval < 1<<30 {
		c.BlockPeriod = time.Duration(info.Interval) * time.Millisecond
	}
	c.Producer = producer(info, nodes, upTold, token)
	w.judge(c, set, nil)
	c.Window, c.Quorum = len(w.blocks), quorum(Wemix, len(c.Producer.Members))
	for i := range c.Validators {
		v := &c.Validators[i]
		v.Name = names[v.Address]
		if !upTold {
			continue
		}
		v.Active = v.Self || slices.ContainsFunc(nodes, func(n wemixNode) bool { return n.Name == v.Name && n.up() })
		if v.Active {
			w.seen[v.Address] = c.Head.Number
			v.LastActive = c.Head.Number
		}
	}
	return nil
}

// up is what the others say of a node.
func (n wemixNode) up() bool { return strings.EqualFold(n.Status, "up") }

func producer(info *wemixInfo, nodes []wemixNode, upTold bool, token string) *Producer {
	p := &Producer{UpKnown: upTold}
	if info.Self != nil {
		p.Name = clip(info.Self.Name, 64)
	}
	if info.Etcd.Self != nil { // the one that counts for the majority
		p.Name = clip(info.Etcd.Self.Name, 64)
	}
	if info.Etcd.Leader != nil {
		p.Leader = clip(info.Etcd.Leader.Name, 64)
	}
	for _, m := range info.Etcd.Members[:min(len(info.Etcd.Members), maxValidators)] {
		member := Member{Name: clip(m.Name, 64), Self: m.Name == p.Name}
		for _, n := range nodes {
			if n.Name == m.Name {
				member.Up, member.Height = member.Up || n.up(), max(member.Height, n.Height)
			}
		}
		p.Members = append(p.Members, member)
	}
	var t wemixToken
	if json.Unmarshal([]byte(token), &t) == nil && t.Miner != "" {
		p.Token, p.TokenTill = clip(t.Miner, 64), time.Unix(t.Till, 0)
	}
	return p
}
