package databases

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"postoffice/applets/client"
	"postoffice/applets/cmdline"
	"postoffice/applets/control"
	"postoffice/applets/smtpd/greylist"
	"postoffice/applets/state"
	"postoffice/internal/dbm"
	"postoffice/internal/dbm/store"
)

// storeAt reports whether a path is a store's directory, or to be one by the slash at its
// end, or leads to a part of a store by its name, as /var/lib/postoffice/store/greylist.
func storeAt(path string) (dir, part string, ok bool) {
	wanted := strings.HasSuffix(path, "/")
	path = filepath.Clean(path)
	if wanted || store.Is(path) {
		return path, "", true
	}
	if dir, name := filepath.Dir(path), filepath.Base(path); store.Is(dir) {
		return dir, name + "/", true
	}
	return "", "", false
}

// atStore does what a verb says with a store, or with a part of it, with the rights of its
// owner; what a server has open is asked of that.
func (d *dbmRun) atStore(dir, part, verb string, args []string) (err error) {
	o := store.Options{Mend: "postoffice dbm -d " + dir + " mend", As: state.AsOwner(dir)}
	switch is := store.Is(dir); {
	case is && verb == "create":
		return cmdline.ExitWith(dbmNone, fmt.Errorf("%s exists already", dir), "clear empties it")
	case !is && verb != "create":
		return cmdline.ExitWith(dbmNone, fmt.Errorf("%s is no store", dir), "create makes an empty one; a server makes its own, in db-dir")
	case verb == "mend":
		return d.mendStore(dir, o)
	}
	s, err := store.Open(dir, o)
	if errors.Is(err, store.ErrLocked) {
		if records, ok := client.ServerStore(d.ctx, d.env, dir, part); ok {
			return d.atPart(records, part, verb, args)
		}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return d.atPart(s.Part(part), part, verb, args)
}

// mendStore says what is left, whatever -v says.
func (d *dbmRun) mendStore(dir string, o store.Options) error {
	m, err := store.Mend(dir, o)
	if err != nil {
		return err
	}
	d.env.Say(fmt.Sprintf("%s: %d records are in it now", dir, m.Records))
	if len(m.Damaged) > 0 {
		d.env.Say("what could not be read to its end: " + strings.Join(m.Damaged, " "))
	}
	d.env.Say("as it was it is in " + m.Old + ": remove that when nothing is missed")
	return nil
}

// records are a part of a store: ours, or a server's.
type records interface {
	control.Store
	Put(ctx context.Context, records map[string]string) error
}

func (d *dbmRun) atPart(p records, part, verb string, args []string) error {
	switch verb {
	case "create":
		return nil // it is
	case "clear":
		return d.clearPart(p)
	case "delete":
		return d.deleteFromPart(p, args)
	case "dump":
		out := bufio.NewWriter(d.env.Stdout)
		err := p.Scan(d.ctx, "", func(key, value string) bool {
			_, err := fmt.Fprintf(out, "%s\t%s\n", key, d.text([]byte(value)))
			return err == nil
		})
		return errors.Join(err, out.Flush())
	case "fetch":
		return d.each(args, func(key string) error {
			value, there, err := p.Get(d.ctx, key)
			if err == nil && !there {
				err = dbm.ErrNotFound
			}
			if err == nil {
				_, err = fmt.Fprintf(d.env.Stdout, "%s\n", d.text([]byte(value)))
			}
			return err
		})
	case "load":
		if part == state.Greylist {
			return d.loadGreylist(p)
		}
		return d.loadPart(p, func(key, value string) (string, string, error) { return key, value, nil })
	}
	return d.storeInPart(p, args[0], args[1], verb == "insert")
}

func (d *dbmRun) clearPart(p records) error {
	n := 0
	for {
		var some []string
		err := p.Scan(d.ctx, "", func(key, _ string) bool {
			some = append(some, key)
			return len(some) < partSome
		})
		if err != nil {
			return err
		}
		deleted, err := p.Delete(d.ctx, some, func(string, string) bool { return true })
		n += deleted
		if err != nil {
			return err
		}
		if len(some) < partSome {
			d.done(n, "deleted")
			return nil
		}
	}
}

const (
	partSome  = 1000 // records of a part that are in memory at once
	lateTries = 30   // to put some of them where the disk is slow, each of ten seconds
)

func (d *dbmRun) deleteFromPart(p records, keys []string) error {
	n := 0
	err := d.each(keys, func(key string) error {
		deleted, err := p.Delete(d.ctx, []string{key}, func(string, string) bool { return true })
		n += deleted
		if err == nil && deleted == 0 {
			err = dbm.ErrNotFound
		}
		return err
	})
	d.done(n, "deleted")
	return err
}

// loadGreylist is loadPart for records of the greylist. Those whose keys are others here are
// put last, and into what is known of these keys. What is no record is left out, as some of
// an old file are.
func (d *dbmRun) loadGreylist(p records) error {
	var folded [][2]string
	odd, first := 0, ""
	err := d.loadPart(p, func(key, value string) (string, string, error) {
		own, text := greylist.Imported(key, value)
		if _, err := greylist.ParseRecord(text); err != nil {
			if odd++; odd == 1 {
				first = fmt.Sprintf("%.40q: %v", key, err)
			}
			return "", "", nil
		}
		if own == strings.TrimRight(key, "\x00") {
			return own, text, nil
		}
		folded = append(folded, [2]string{own, text})
		return "", "", nil
	})
	for _, r := range folded {
		if updateErr := p.Update(d.ctx, r[0], func(old string, _ bool) (string, bool) { return greylist.Merged(old, r[1]), true }); updateErr != nil {
			return errors.Join(err, updateErr)
		}
	}
	if odd > 0 {
		d.env.Say(fmt.Sprintf("%d lines were left out, which are no records of the greylist; the first is %s", odd, first))
	}
	return err
}

// loadPart puts records beside those that are there, each as own has it, which keeps those
// to itself whose key it returns as "".
func (d *dbmRun) loadPart(p records, own func(key, value string) (string, string, error)) error {
	some := map[string]string{}
	put := func() error {
		err := p.Put(d.ctx, some)
		for range lateTries { // it merges its tables meanwhile
			if !errors.Is(err, store.ErrLate) {
				break
			}
			err = p.Put(d.ctx, some)
		}
		clear(some)
		return err
	}
	n, err := d.lines(func(line, text []byte) error {
		key, value, err := own(string(line), string(text))
		if err != nil || key == "" {
			return err
		}
		some[key] = value
		if len(some) < partSome {
			return nil
		}
		return put()
	})
	if err = errors.Join(err, put()); err == nil {
		d.done(n, "loaded")
	}
	return err
}

func (d *dbmRun) storeInPart(p records, key, value string, insert bool) error {
	exists := false
	err := p.Update(d.ctx, key, func(old string, there bool) (string, bool) {
		if exists = there && insert; exists {
			return old, true
		}
		return value, true
	})
	switch {
	case err != nil:
		return err
	case exists:
		return cmdline.ExitWith(dbmSome, fmt.Errorf("%s exists already in %s", key, d.path), "update puts a new value in the old one's place")
	}
	if insert {
		d.done(1, "inserted")
	} else {
		d.done(1, "stored")
	}
	return nil
}
