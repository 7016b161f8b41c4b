//go:build !race

package smtpd

const weightOfRace = 1
