// Package e2e drives the shipped images as orchestrators and people do: a real
// node in a real container, its probes, its signals, its end. It imports
// nothing of ours. A simulated kubelet watches every container and fails the
// test where it would have killed one whose node was not lost. The tests need
// the build tag e2e and a Docker engine.
package e2e
