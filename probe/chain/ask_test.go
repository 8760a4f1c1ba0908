package chain

import "testing"

func TestAskOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for range 4 {
		n.mine()
	}
	f, err := Ask(t.Context(), n.http(t))
	if err != nil {
		t.Fatal(err)
	}
	if f.ChainID != 1337 || f.Genesis != hash(0) || f.Client == "" || f.Kind == "" || !f.HeadKnown || f.Head.Number != 5 {
		t.Errorf("want who it is and block 5, have %+v", f)
	}
	shy, err := Ask(t.Context(), newNodeWith(t, "net", "web3").http(t))
	if err != nil || shy.HeadKnown || shy.Client == "" {
		t.Errorf("want a node without eth known by its name alone, have %+v, %v", shy, err)
	}
	if f, err := Ask(t.Context(), "127.0.0.1:1"); err == nil {
		t.Errorf("want an error of nobody, have %+v", f)
	}
}
