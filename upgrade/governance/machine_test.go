package governance

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"
)

// machine is a contract that learns what to answer: the whole input of a call is
// the question. What it was taught is in its storage, so that it answers as of
// each block what it had been taught by then; what it is told to emit it emits.
//
//	fe key(32) answer...        answers that, when the hash of the input is key
//	fd topic(32)×2 data...      emits an event with two topics
//	fc topic(32)×4              emits one with four
const machine = `
	0 CALLDATALOAD 248 SHR
	DUP1 0xfe EQ @learn JUMPI
	DUP1 0xfd EQ @two JUMPI
	DUP1 0xfc EQ @four JUMPI

	CALLDATASIZE 0 0 CALLDATACOPY
	CALLDATASIZE 0 SHA3            ; key
	DUP1 SLOAD                     ; key size
	0                              ; key size i
:say	DUP2 DUP2 LT ISZERO @said JUMPI
	DUP1 5 SHR DUP4 ADD 1 ADD SLOAD
	DUP2 MSTORE
	32 ADD @say JUMP
:said	POP 0 RETURN

:learn	1 CALLDATALOAD                 ; key
	33 CALLDATASIZE SUB            ; key size
	DUP1 DUP3 SSTORE
	0                              ; key size i
:write	DUP2 DUP2 LT ISZERO @done JUMPI
	DUP1 33 ADD CALLDATALOAD
	DUP2 5 SHR DUP5 ADD 1 ADD SSTORE
	32 ADD @write JUMP

:two	33 CALLDATALOAD 1 CALLDATALOAD
	65 CALLDATASIZE SUB            ; topics size
	DUP1 65 0 CALLDATACOPY
	0 LOG2 @done JUMP

:four	97 CALLDATALOAD 65 CALLDATALOAD 33 CALLDATALOAD 1 CALLDATALOAD
	0 0 LOG4
:done	STOP
`

var opcodes = map[string]byte{
	"STOP": 0x00, "ADD": 0x01, "SUB": 0x03, "LT": 0x10, "EQ": 0x14, "ISZERO": 0x15, "SHR": 0x1c, "SHA3": 0x20,
	"CALLDATALOAD": 0x35, "CALLDATASIZE": 0x36, "CALLDATACOPY": 0x37, "CODECOPY": 0x39, "POP": 0x50, "MSTORE": 0x52,
	"SLOAD": 0x54, "SSTORE": 0x55, "JUMP": 0x56, "JUMPI": 0x57, "JUMPDEST": 0x5b,
	"DUP1": 0x80, "DUP2": 0x81, "DUP3": 0x82, "DUP4": 0x83, "DUP5": 0x84, "LOG2": 0xa2, "LOG4": 0xa4, "RETURN": 0xf3,
}

// assemble makes bytecode of the above: numbers are pushed, :name is a place,
// @name pushes it, and what follows ; is for people.
func assemble(t *testing.T, source string) []byte {
	t.Helper()
	var code []byte
	places, holes := map[string]int{}, map[int]string{}
	for line := range strings.Lines(source) {
		line, _, _ = strings.Cut(line, ";")
		for _, token := range strings.Fields(line) {
			switch {
			case token[0] == ':':
				places[token[1:]] = len(code)
				code = append(code, opcodes["JUMPDEST"])
			case token[0] == '@':
				holes[len(code)+1] = token[1:]
				code = append(code, 0x61, 0, 0)
			case token[0] >= '0' && token[0] <= '9':
				n, err := strconv.ParseUint(token, 0, 8)
				if err != nil {
					t.Fatal(err)
				}
				code = append(code, 0x60, byte(n))
			default:
				op, ok := opcodes[token]
				if !ok {
					t.Fatalf("no such instruction: %s", token)
				}
				code = append(code, op)
			}
		}
	}
	for at, name := range holes {
		place, ok := places[name]
		if !ok {
			t.Fatalf("no such place: %s", name)
		}
		binary.BigEndian.PutUint16(code[at:], uint16(place))
	}
	return code
}

// deployment is the code that leaves code behind as a contract.
func deployment(code []byte) string {
	head := []byte{0x61, byte(len(code) >> 8), byte(len(code)), 0x80, 0x60, 12, 0x60, 0, 0x39, 0x60, 0, 0xf3}
	return "0x" + hex.EncodeToString(append(head, code...))
}

// learn is the input that teaches it.
func learn(question string, answer []byte) string {
	q, err := hex.DecodeString(strings.TrimPrefix(question, "0x"))
	if err != nil {
		panic(err)
	}
	key := hash(string(q))
	return "0xfe" + hex.EncodeToString(key[:]) + hex.EncodeToString(answer)
}

// emit is the input that has it emit an event.
func emit(topics []word, data []byte) string {
	text := map[int]string{2: "0xfd", 4: "0xfc"}[len(topics)]
	for _, topic := range topics {
		text += hex.EncodeToString(topic[:])
	}
	return text + hex.EncodeToString(data)
}
