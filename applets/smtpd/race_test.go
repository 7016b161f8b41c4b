//go:build race

package smtpd

// weightOfRace is how much heavier the race detector makes a session.
const weightOfRace = 20
