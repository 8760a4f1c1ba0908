// Package e2e drives the shipped images as orchestrators and people do: a real
// node in a real container, its probes, its signals, its end. It imports
// nothing of ours. Its tests need the build tag e2e and a Docker engine.
package e2e
