package netsh

import (
	"strings"
	"sync"
)

// Word is a word that netsh writes in the display language. The zero value is one that is
// not known here: it is reported, and nothing is made of it.
type Word uint8

// The words, by what they mean.
const (
	Unknown Word = iota
	Yes
	No
	In
	Out
	Any
	Allow
	Block
	Bypass // allow what is authenticated, even against rules that block
	Domain
	Private
	Public
	On
	Off
)

var wordNames = [...]string{"unknown", "yes", "no", "in", "out", "any", "allow", "block", "bypass", "domain", "private", "public", "on", "off"}

func (w Word) String() string {
	if int(w) < len(wordNames) {
		return wordNames[w]
	}
	return wordNames[Unknown]
}

// seen and inferred are where a word comes from. seen: in output of netsh that its owners
// published, in repositories and forums, read 2026-11-25. inferred: nobody was seen to publish it; it
// is the word that the language's Windows uses elsewhere for the same.
const (
	seen     = true
	inferred = false
)

// phrase is a word in one language.
type phrase struct {
	lang  string
	means Word
	text  string
	from  bool // seen or inferred
}

// phrases are sought by what may stand in a column, without regard to case: "Aus" is a
// direction in one and a state in another. Of French, ON and the direction In are the same word:
// so it was seen.
var phrases = []phrase{
	{"en", Yes, "Yes", seen},
	{"en", No, "No", seen},
	{"en", In, "In", seen},
	{"en", Out, "Out", seen},
	{"en", Any, "Any", seen},
	{"en", Allow, "Allow", seen},
	{"en", Block, "Block", seen},
	{"en", Bypass, "Bypass", seen},
	{"en", Domain, "Domain", seen},
	{"en", Private, "Private", seen},
	{"en", Public, "Public", seen},
	{"en", On, "ON", seen},
	{"en", Off, "OFF", seen},
	{"en", Yes, "Enable", seen},
	{"en", No, "Disable", seen},
	{"en", Private, "Standard", seen},

	{"de", Yes, "Ja", seen},
	{"de", No, "Nein", seen},
	{"de", In, "Eingehend", seen},
	{"de", Out, "Ausgehend", inferred},
	{"de", In, "Ein", inferred},
	{"de", Out, "Aus", seen},
	{"de", Any, "Beliebig", seen},
	{"de", Allow, "Zulassen", seen},
	{"de", Block, "Blockieren", seen},
	{"de", Block, "Blocken", inferred},
	{"de", Domain, "Domäne", seen},
	{"de", Private, "Privat", seen},
	{"de", Public, "Öffentlich", seen},
	{"de", On, "EIN", seen},
	{"de", Off, "AUS", inferred},
	{"de", Yes, "Aktivieren", inferred},
	{"de", No, "Deaktivieren", inferred},

	{"fr", Yes, "Oui", seen},
	{"fr", No, "Non", inferred},
	{"fr", In, "Actif", seen},
	{"fr", In, "Entrée", inferred},
	{"fr", In, "Entrant", inferred},
	{"fr", Out, "Sortie", inferred},
	{"fr", Out, "Sortant", inferred},
	{"fr", Any, "Tout", seen},
	{"fr", Any, "Tous", inferred},
	{"fr", Allow, "Autoriser", seen},
	{"fr", Block, "Bloquer", seen},
	{"fr", Domain, "Domaine", seen},
	{"fr", Private, "Privé", seen},
	{"fr", Public, "Public", seen},
	{"fr", On, "Actif", seen},
	{"fr", Off, "Inactif", inferred},
	{"fr", Yes, "Activer", seen},
	{"fr", No, "Désactiver", seen},

	{"es", Yes, "Sí", seen},
	{"es", No, "No", seen},
	{"es", In, "Dentro", seen},
	{"es", Out, "Fuera", seen},
	{"es", Any, "Cualquiera", seen},
	{"es", Allow, "Permitir", seen},
	{"es", Block, "Bloquear", seen},
	{"es", Domain, "Dominio", seen},
	{"es", Private, "Privada", seen},
	{"es", Private, "Privado", inferred},
	{"es", Public, "Pública", seen},
	{"es", Public, "Público", inferred},
	{"es", On, "ACTIVADO", inferred},
	{"es", Off, "DESACTIVADO", inferred},
	{"es", On, "ACTIVAR", inferred},
	{"es", Off, "DESACTIVAR", inferred},
	{"es", Yes, "Habilitar", inferred},
	{"es", No, "Deshabilitar", inferred},

	{"it", Yes, "Sì", inferred},
	{"it", No, "No", inferred},
	{"it", In, "In ingresso", inferred},
	{"it", In, "In entrata", inferred},
	{"it", Out, "In uscita", inferred},
	{"it", Any, "Qualsiasi", inferred},
	{"it", Any, "Qualunque", inferred},
	{"it", Allow, "Consenti", inferred},
	{"it", Block, "Blocca", inferred},
	{"it", Domain, "Dominio", inferred},
	{"it", Private, "Privato", inferred},
	{"it", Private, "Privata", inferred},
	{"it", Public, "Pubblico", inferred},
	{"it", Public, "Pubblica", inferred},
	{"it", On, "ATTIVATO", inferred},
	{"it", On, "ATTIVO", inferred},
	{"it", Off, "DISATTIVATO", inferred},
	{"it", Off, "DISATTIVO", inferred},
	{"it", Yes, "Attiva", inferred},
	{"it", No, "Disattiva", inferred},
	{"it", Yes, "Abilita", inferred},
	{"it", No, "Disabilita", inferred},

	{"nl", Yes, "Ja", inferred},
	{"nl", No, "Nee", inferred},
	{"nl", In, "Binnenkomend", inferred},
	{"nl", In, "Inkomend", inferred},
	{"nl", Out, "Uit", inferred},
	{"nl", Out, "Uitgaand", inferred},
	{"nl", Any, "Willekeurig", inferred},
	{"nl", Any, "Alle", inferred},
	{"nl", Allow, "Toestaan", inferred},
	{"nl", Block, "Blokkeren", inferred},
	{"nl", Domain, "Domein", inferred},
	{"nl", Private, "Particulier", inferred},
	{"nl", Private, "Privé", inferred},
	{"nl", Public, "Openbaar", inferred},
	{"nl", On, "AAN", inferred},
	{"nl", Off, "UIT", inferred},
	{"nl", On, "INGESCHAKELD", inferred},
	{"nl", Off, "UITGESCHAKELD", inferred},
	{"nl", Yes, "Inschakelen", inferred},
	{"nl", No, "Uitschakelen", inferred},

	{"pt", Yes, "Sim", seen},
	{"pt", No, "Não", seen},
	{"pt", In, "Entrada", seen},
	{"pt", Out, "Saída", inferred},
	{"pt", Any, "Qualquer", seen},
	{"pt", Allow, "Permitir", seen},
	{"pt", Block, "Bloquear", inferred},
	{"pt", Domain, "Domínio", seen},
	{"pt", Private, "Particular", seen},
	{"pt", Private, "Privado", inferred},
	{"pt", Public, "Público", seen},
	{"pt", On, "ATIVADO", inferred},
	{"pt", On, "LIGADO", inferred},
	{"pt", Off, "DESATIVADO", inferred},
	{"pt", Off, "DESLIGADO", inferred},
	{"pt", Yes, "Habilitar", inferred},
	{"pt", No, "Desabilitar", inferred},
	{"pt", Yes, "Ativar", inferred},
	{"pt", No, "Desativar", inferred},

	{"pl", Yes, "Tak", inferred},
	{"pl", No, "Nie", inferred},
	{"pl", In, "Przychodzące", inferred},
	{"pl", In, "Wejście", inferred},
	{"pl", Out, "Wychodzące", inferred},
	{"pl", Out, "Wyjście", inferred},
	{"pl", Any, "Dowolny", inferred},
	{"pl", Any, "Dowolna", inferred},
	{"pl", Any, "Dowolne", inferred},
	{"pl", Allow, "Zezwalaj", inferred},
	{"pl", Allow, "Zezwól", inferred},
	{"pl", Block, "Blokuj", inferred},
	{"pl", Block, "Zablokuj", inferred},
	{"pl", Domain, "Domena", inferred},
	{"pl", Private, "Prywatny", inferred},
	{"pl", Private, "Prywatna", inferred},
	{"pl", Public, "Publiczny", inferred},
	{"pl", Public, "Publiczna", inferred},
	{"pl", On, "WŁĄCZONE", inferred},
	{"pl", Off, "WYŁĄCZONE", inferred},
	{"pl", Yes, "Włącz", inferred},
	{"pl", No, "Wyłącz", inferred},

	{"ja", Yes, "はい", seen},
	{"ja", No, "いいえ", seen},
	{"ja", In, "入力", seen},
	{"ja", Out, "出力", inferred},
	{"ja", Any, "任意", seen},
	{"ja", Allow, "許可", seen},
	{"ja", Block, "ブロック", inferred},
	{"ja", Domain, "ドメイン", seen},
	{"ja", Private, "プライベート", seen},
	{"ja", Public, "パブリック", seen},
	{"ja", On, "オン", inferred},
	{"ja", Off, "オフ", inferred},
	{"ja", Yes, "有効", inferred},
	{"ja", No, "無効", inferred},

	{"ru", Yes, "Да", seen},
	{"ru", No, "Нет", inferred},
	{"ru", In, "Входящее", inferred},
	{"ru", In, "Входящие", inferred},
	{"ru", Out, "Исходящее", inferred},
	{"ru", Out, "Исходящие", inferred},
	{"ru", Any, "Любой", inferred},
	{"ru", Any, "Любые", inferred},
	{"ru", Allow, "Разрешить", inferred},
	{"ru", Block, "Блокировать", inferred},
	{"ru", Domain, "Домен", inferred},
	{"ru", Private, "Частный", inferred},
	{"ru", Public, "Общий", inferred},
	{"ru", Public, "Публичный", inferred},

	{"zh", Yes, "是", seen},
	{"zh", No, "否", inferred},
	{"zh", In, "入", seen},
	{"zh", In, "入站", seen},
	{"zh", Out, "出", inferred},
	{"zh", Out, "出站", inferred},
	{"zh", Any, "任何", seen},
	{"zh", Allow, "允许", seen},
	{"zh", Block, "阻止", inferred},
	{"zh", Domain, "域", seen},
	{"zh", Private, "专用", seen},
	{"zh", Public, "公用", seen},
}

// The columns, by the words that may stand in them.
var (
	answers    = column(Yes, No)
	directions = column(In, Out)
	anything   = column(Any)
	actions    = column(Allow, Block, Bypass)
	places     = column(Domain, Private, Public)
	states     = column(On, Off, Yes, No) // the old netsh firewall has Enable and Disable
)

// column finds words among those that mean one of a few things.
func column(means ...Word) func(text string) Word {
	table := sync.OnceValue(func() map[string]Word {
		t := map[string]Word{}
		for _, p := range phrases {
			for _, m := range means {
				if p.means == m {
					t[strings.ToLower(p.text)] = m
				}
			}
		}
		return t
	})
	return func(text string) Word { return table()[strings.ToLower(strings.TrimSpace(text))] }
}

// headings are parts of the headings of profiles, in lower case. Of these none is part of
// another profile's: "Privates Profil-Einstellungen", "Paramètres Profil public".
var headings = []struct {
	part  string
	means Word
}{
	{"domain", Domain},
	{"domän", Domain},
	{"domein", Domain},
	{"domini", Domain},
	{"domíni", Domain},
	{"domen", Domain},
	{"ドメイン", Domain},
	{"домен", Domain},
	{"域", Domain},
	{"網域", Domain},
	{"privat", Private},
	{"privé", Private},
	{"privad", Private},
	{"particul", Private},
	{"prywatn", Private},
	{"プライベート", Private},
	{"частн", Private},
	{"专用", Private},
	{"私人", Private},
	{"standard", Private},
	{"public", Public},
	{"öffentlich", Public},
	{"públic", Public},
	{"pubblic", Public},
	{"openba", Public},
	{"パブリック", Public},
	{"общ", Public},
	{"публичн", Public},
	{"公用", Public},
}

// headed gives the profile that a heading names, Unknown if it names none or several.
func headed(heading string) Word {
	heading = strings.ToLower(heading)
	found := Unknown
	for _, h := range headings {
		if strings.Contains(heading, h.part) {
			if found != Unknown && found != h.means {
				return Unknown
			}
			found = h.means
		}
	}
	return found
}
