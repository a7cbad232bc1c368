package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/fleet"
)

// used gives the packed verdicts of machines that are not retired, each once, with how
// many machines share them.
func (d *DB) used(ctx context.Context, use func(id int64, hosts int, body []byte) error) (err error) {
	rows, err := d.read.QueryContext(ctx, `SELECT v.id, u.hosts, v.body FROM verdicts v
		JOIN (SELECT verdicts_id, COUNT(*) AS hosts FROM host WHERE retired = FALSE GROUP BY verdicts_id) u ON u.verdicts_id = v.id`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id int64
		var hosts int
		var body []byte
		if err := rows.Scan(&id, &hosts, &body); err != nil {
			return err
		}
		if err := use(id, hosts, body); err != nil {
			return err
		}
	}
	return rows.Err()
}

// verdictsWith gives the ids of verdicts in which a vulnerability has one of the verdicts.
func (d *DB) verdictsWith(ctx context.Context, cve string, verdicts []assess.Verdict) (ids []int64, err error) {
	want, ok := fleet.CVENumber(strings.ToUpper(cve))
	if !ok {
		return nil, nil
	}
	err = d.used(ctx, func(id int64, _ int, body []byte) error {
		return fleet.EachVerdict(body, func(number uint64, v assess.Verdict, _ bool) bool {
			if number == want && slices.Contains(verdicts, v) {
				ids = append(ids, id)
			}
			return number < want
		})
	})
	return ids, err
}

// CVEs counts the machines by vulnerability.
func (d *DB) CVEs(ctx context.Context) ([]fleet.CVECount, error) {
	list, err := d.cves.of(ctx, d, struct{}{}, d.rankCVEs)
	return slices.Clone(list), err
}

// rankCVEs counts, and puts those first that most machines have.
func (d *DB) rankCVEs(ctx context.Context, _ struct{}) ([]fleet.CVECount, error) {
	list, err := d.tally.cves(ctx, d)
	slices.SortFunc(list, func(a, b fleet.CVECount) int {
		return cmp.Or(cmp.Compare(b.Affected+b.Unfixable, a.Affected+a.Unfixable), cmp.Compare(b.Unknown, a.Unknown), cmp.Compare(b.CVE, a.CVE))
	})
	return list, err
}

// countCVEs counts anew, in no order.
func (d *DB) countCVEs(ctx context.Context) (list []fleet.CVECount, err error) {
	t := tally{sums: map[uint64]cveSum{}}
	err = d.used(ctx, func(_ int64, hosts int, body []byte) error { return t.sum(body, hosts) })
	return t.cveCounts(), err
}

// KBs counts the machines by missing update.
func (d *DB) KBs(ctx context.Context) ([]fleet.KBCount, error) {
	list, err := d.kbs.of(ctx, d, struct{}{}, d.countKBs)
	return slices.Clone(list), err
}

func (d *DB) countKBs(ctx context.Context, _ struct{}) (list []fleet.KBCount, err error) {
	err = d.read.NewRaw(`SELECT m.kb AS kb, CAST(SUM(u.hosts) AS BIGINT) AS hosts FROM verdicts_missing m
		JOIN (SELECT verdicts_id, COUNT(*) AS hosts FROM host WHERE retired = FALSE GROUP BY verdicts_id) u ON u.verdicts_id = m.verdicts_id
		GROUP BY m.kb ORDER BY 2 DESC, 1 DESC`).Scan(ctx, &list)
	return list, err
}
