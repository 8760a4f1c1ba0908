package main

import (
	"time"

	"github.com/wemix/wemixvisor/probe"
)

// probeSettings say how the node is questioned and judged.
type probeSettings struct {
	rpcAddress          string
	probeAddress        string
	healthCheckInterval time.Duration
	metricsInterval     time.Duration
	readyMaxHeadAge     time.Duration
	readyMinPeers       int
	readyMaxLag         int
	liveMaxRPCSilence   time.Duration
}

func (s *probeSettings) define(r *reader) {
	r.text(&s.rpcAddress, "rpc-address", "localhost:8545", "the node's RPC: host:port, http(s)://, ws(s)://, or an .ipc path")
	r.text(&s.probeAddress, "probe-address", ":9090", "listen address of probes and metrics; off")
	r.duration(&s.healthCheckInterval, "health-check-interval", 30*time.Second, 0, "how often disk, memory and peers are looked at; at most ten times a second")
	r.duration(&s.metricsInterval, "metrics-interval", 5*time.Second, 0, "how often process and volume figures are sampled; at most ten times a second")
	r.duration(&s.readyMaxHeadAge, "ready-max-head-age", time.Minute, 0, "not ready when the newest block is older; 0 does not look")
	r.count(&s.readyMinPeers, "ready-min-peers", 0, "not ready with fewer peers")
	r.count(&s.readyMaxLag, "ready-max-lag", 10, "not ready when further behind, in blocks")
	r.duration(&s.liveMaxRPCSilence, "live-max-rpc-silence", 5*time.Minute, 0, "not live when RPC answered once and then fell silent for longer; 0 does not look")
}

func (s *probeSettings) limits() probe.Limits {
	return probe.Limits{
		MaxHeadAge:        s.readyMaxHeadAge,
		LiveMaxRPCSilence: s.liveMaxRPCSilence,
		MinPeers:          s.readyMinPeers,
		MaxLag:            uint64(s.readyMaxLag),
	}
}
