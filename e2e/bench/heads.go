package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// glance is how often the supervisor is asked for its height: what the
// measuring is exact to.
const glance = 2 * time.Millisecond

// measureHeads returns how long after the node had announced each of n blocks
// the supervisor knew of it, in milliseconds.
func measureHeads(ctx context.Context, s *stand, n int) ([]float64, error) {
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, s.ws, nil)
	if err != nil {
		return nil, fmt.Errorf("listen to the node: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(patience + time.Duration(2*n)*time.Second)); err != nil {
		return nil, err
	}
	if err := conn.WriteJSON(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": []string{"newHeads"}}); err != nil {
		return nil, fmt.Errorf("listen to the node: %w", err)
	}
	var times []float64
	for len(times) < n {
		var said struct {
			Params struct {
				Result struct {
					Number string `json:"number"`
				} `json:"result"`
			} `json:"params"`
		}
		if err := conn.ReadJSON(&said); err != nil {
			return nil, fmt.Errorf("listen to the node: %w", err)
		}
		born := time.Now()
		number, err := strconv.ParseUint(said.Params.Result.Number, 0, 64)
		if err != nil {
			continue // the answer to the subscription
		}
		if err := s.knows(ctx, number); err != nil {
			return nil, err
		}
		times = append(times, float64(time.Since(born))/1e6)
	}
	return times, nil
}

// knows returns when the supervisor's height is number.
func (s *stand) knows(ctx context.Context, number uint64) error {
	for began := time.Now(); time.Since(began) < patience; {
		_, text, err := s.get("/metrics")
		if err != nil {
			return err
		}
		if height, err := sample(text, "wemixvisor_node_height"); err == nil && height >= float64(number) {
			return nil
		}
		if err := rest(ctx, glance); err != nil {
			return err
		}
	}
	return fmt.Errorf("block %d was not seen within %s", number, patience)
}
