//go:build race

package main

// raced: the race detector makes everything ten times slower.
const raced = true
