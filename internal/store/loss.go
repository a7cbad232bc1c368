package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/oldguard/oldguard/internal/assess"
	"github.com/oldguard/oldguard/internal/fleet"
	"github.com/oldguard/oldguard/winver"
)

type lossRow struct {
	bun.BaseModel `bun:"table:loss"`

	HostID int64 `bun:",pk"`
	At     int64
	Build  string
	CVEs   int `bun:"cves"`
	KBs    int `bun:"kbs"`
	Text   string
	Body   []byte
}

func (r *lossRow) loss() (fleet.Loss, error) {
	l := fleet.Loss{At: timeOf(r.At), Build: buildOf(r.Build)}
	v, err := fleet.UnpackVerdicts(r.Body)
	if err != nil {
		return l, fmt.Errorf("what machine %d lost: %w", r.HostID, err)
	}
	for _, c := range slices.Backward(v.List) {
		l.CVEs = append(l.CVEs, c.CVE)
	}
	l.KBs = v.Missing
	return l, nil
}

// setLoss stores what a machine lost in place of what was stored.
func setLoss(ctx context.Context, tx tx, host int64, l *fleet.Loss) error {
	if _, err := tx.NewDelete().Model((*lossRow)(nil)).Where("host_id = ?", host).Exec(ctx); err != nil || l.None() {
		return err
	}
	v := fleet.Verdicts{Missing: l.KBs}
	for _, cve := range l.CVEs {
		v.List = append(v.List, fleet.CVEVerdict{CVE: cve, Verdict: assess.Affected})
	}
	row := lossRow{HostID: host, At: stamp(l.At), Build: l.Build.String(), CVEs: len(l.CVEs), KBs: len(l.KBs), Text: l.String(), Body: v.Pack()}
	_, err := tx.NewInsert().Model(&row).Exec(ctx)
	return err
}

// buildOf reads a stored build; what is none is not known.
func buildOf(text string) winver.Build {
	v, err := winver.Parse(text)
	if err != nil {
		return winver.Build{}
	}
	return v.Build
}
