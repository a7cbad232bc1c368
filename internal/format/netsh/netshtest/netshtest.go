// Package netshtest prints rules and profiles of Windows Firewall as netsh does, in several
// languages, for tests. The layouts and words are those of outputs that were seen; the
// language xx is made up, to show what becomes of a language that nobody knows.
package netshtest

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/text/width"

	"github.com/oldguard/oldguard/internal/format/netsh"
)

// language is how one display language prints.
type language struct {
	column int    // where values begin
	colon  string // what ends a label
	end    string // netsh's last word
	labels []string
	words  map[netsh.Word]string
	// heading of a profile, in which %s is the profile's name there
	heading                      string
	headed                       map[netsh.Word]string
	state, policy, on, off, yes2 string
	no2, logging                 string
}

// The labels, in their order.
const (
	name = iota
	description
	enabled
	dir
	profiles
	grouping
	localIP
	remoteIP
	protocol
	localPort
	remotePort
	edge
	program
	service
	interfaces
	security
	source
	action
	localSetting
	typeCode
)

var languages = map[string]language{
	"en": {
		38, ":", "Ok.",
		[]string{"Rule Name", "Description", "Enabled", "Direction", "Profiles", "Grouping", "LocalIP", "RemoteIP", "Protocol", "LocalPort", "RemotePort", "Edge traversal", "Program", "Service", "InterfaceTypes", "Security", "Rule source", "Action", "Local Setting", "Type    Code"},
		map[netsh.Word]string{netsh.Yes: "Yes", netsh.No: "No", netsh.In: "In", netsh.Out: "Out", netsh.Any: "Any", netsh.Allow: "Allow", netsh.Block: "Block", netsh.Bypass: "Bypass", netsh.Domain: "Domain", netsh.Private: "Private", netsh.Public: "Public"},
		"%s Profile Settings: ",
		map[netsh.Word]string{netsh.Domain: "Domain", netsh.Private: "Private", netsh.Public: "Public"},
		"State", "Firewall Policy", "ON", "OFF", "Enable", "Disable", "Logging:",
	},
	"de": {
		41, ":", "OK.",
		[]string{"Regelname", "Beschreibung", "Aktiviert", "Richtung", "Profile", "Gruppierung", "Lokales IP", "Remote-IP", "Protokoll", "Lokaler Port", "Remoteport", "Edgeausnahme", "Programm", "Dienst", "Schnittstellentypen", "Sicherheit", "Regelquelle", "Aktion", "Lokale Einstellung", "Typ     Code"},
		map[netsh.Word]string{netsh.Yes: "Ja", netsh.No: "Nein", netsh.In: "Eingehend", netsh.Out: "Ausgehend", netsh.Any: "Beliebig", netsh.Allow: "Zulassen", netsh.Block: "Blockieren", netsh.Domain: "Domäne", netsh.Private: "Privat", netsh.Public: "Öffentlich"},
		"%s-Einstellungen:",
		map[netsh.Word]string{netsh.Domain: "Domänenprofil", netsh.Private: "Privates Profil", netsh.Public: "Öffentliches Profil"},
		"Status", "Firewallrichtlinie", "EIN", "AUS", "Aktivieren", "Deaktivieren", "Protokollierung:",
	},
	"fr": {
		38, " :", "Ok.",
		[]string{"Nom de la règle", "Description", "Activé", "Direction", "Profiles", "Groupement", "LocalIP", "RemoteIP", "Protocole", "LocalPort", "RemotePort", "Traversée latérale", "Programme", "Service", "Types d'interface", "Sécurité", "Source de la règle", "Action", "Paramètre local", "Type    Code"},
		map[netsh.Word]string{netsh.Yes: "Oui", netsh.No: "Non", netsh.In: "Actif", netsh.Out: "Sortie", netsh.Any: "Tout", netsh.Allow: "Autoriser", netsh.Block: "Bloquer", netsh.Domain: "Domaine", netsh.Private: "Privé", netsh.Public: "Public"},
		"Paramètres %s :",
		map[netsh.Word]string{netsh.Domain: "Profil de domaine", netsh.Private: "Profil privé", netsh.Public: "Profil public"},
		"État", "Stratégie de pare-feu", "Actif", "Inactif", "Activer", "Désactiver", "Journalisation :", //nolint:misspell // it is French
	},
	"es": {
		38, ":", "Aceptar",
		[]string{"Nombre de regla", "Descripción", "Habilitada", "Dirección", "Perfiles", "Agrupamiento", "LocalIP", "RemoteIP", "Protocolo", "LocalPort", "RemotePort", "Cruce seguro del perímetro", "Programa", "Servicio", "Tipos de interfaz", "Seguridad", "Origen de regla", "Acción", "Configuración local", "Tipo    Código"},
		map[netsh.Word]string{netsh.Yes: "Sí", netsh.No: "No", netsh.In: "Dentro", netsh.Out: "Fuera", netsh.Any: "Cualquiera", netsh.Allow: "Permitir", netsh.Block: "Bloquear", netsh.Domain: "Dominio", netsh.Private: "Privada", netsh.Public: "Pública"},
		"Configuración de %s:",
		map[netsh.Word]string{netsh.Domain: "perfil de dominio", netsh.Private: "perfil privado", netsh.Public: "perfil público"},
		"Estado", "Directiva de firewall", "ACTIVADO", "DESACTIVADO", "Habilitar", "Deshabilitar", "Registro:",
	},
	"pt": {
		38, ":", "Ok.",
		[]string{"Nome da Regra", "Descrição", "Habilitado", "Direção", "Perfis", "Agrupamento", "LocalIP", "RemoteIP", "Protocolo", "LocalPort", "RemotePort", "Travessia da borda", "Programa", "Serviço", "Tipos de Interface", "Segurança", "Origem da Regra", "Ação", "Configuração Local", "Tipo    Código"},
		map[netsh.Word]string{netsh.Yes: "Sim", netsh.No: "Não", netsh.In: "Entrada", netsh.Out: "Saída", netsh.Any: "Qualquer", netsh.Allow: "Permitir", netsh.Block: "Bloquear", netsh.Domain: "Domínio", netsh.Private: "Particular", netsh.Public: "Público"},
		"Configurações do %s:",
		map[netsh.Word]string{netsh.Domain: "Perfil de Domínio", netsh.Private: "Perfil Particular", netsh.Public: "Perfil Público"},
		"Estado", "Política de Firewall", "ATIVADO", "DESATIVADO", "Habilitar", "Desabilitar", "Log:",
	},
	"ja": {
		38, ":", "OK",
		[]string{"規則名", "説明", "有効", "方向", "プロファイル", "グループ", "ローカル IP", "リモート IP", "プロトコル", "ローカル ポート", "リモート ポート", "エッジ トラバーサル", "プログラム", "サービス", "インターフェイスの種類", "セキュリティ", "規則のソース", "操作", "ローカル設定", "種類    コード"},
		map[netsh.Word]string{netsh.Yes: "はい", netsh.No: "いいえ", netsh.In: "入力", netsh.Out: "出力", netsh.Any: "任意", netsh.Allow: "許可", netsh.Block: "ブロック", netsh.Domain: "ドメイン", netsh.Private: "プライベート", netsh.Public: "パブリック"},
		"%s プロファイル設定:",
		map[netsh.Word]string{netsh.Domain: "ドメイン", netsh.Private: "プライベート", netsh.Public: "パブリック"},
		"状態", "ファイアウォール ポリシー", "オン", "オフ", "有効", "無効", "ログ:",
	},
	"xx": {
		38, ":", "Zo.",
		[]string{"Rulo nomo", "Diro", "Ebla", "Irejo", "Profiloj", "Grupo", "Loka", "Fora", "Protokolo", "Loka pordo", "Fora pordo", "Rando", "Programo", "Servo", "Interfacoj", "Sekureco", "Fonto", "Ago", "Loka agordo", "Tipo    Kodo"},
		map[netsh.Word]string{netsh.Yes: "Jes", netsh.No: "Ne", netsh.In: "Enen", netsh.Out: "Eksteren", netsh.Any: "Ajna", netsh.Allow: "Lasu", netsh.Block: "Baru", netsh.Domain: "Domajno", netsh.Private: "Hejma", netsh.Public: "Publika"},
		"Agordoj %s:",
		map[netsh.Word]string{netsh.Domain: "unua", netsh.Private: "dua", netsh.Public: "tria"},
		"Stato", "Politiko", "ŜALTA", "MALŜALTA", "Jesu", "Neu", "Taglibro:",
	},
}

// Languages are those known here, but the made up one.
func Languages() []string { return []string{"en", "de", "fr", "es", "pt", "ja"} }

// printer prints in one language.
type printer struct {
	language
	text strings.Builder
}

func (p *printer) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(&p.text, format, args...) // a Builder takes everything
}

// line prints a label and, in its column, a value. Wide characters take two columns.
func (p *printer) line(label, value string) {
	label += p.colon
	columns := 0
	for _, r := range label {
		columns++
		if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
			columns++
		}
	}
	p.printf("%s%s%s\r\n", label, strings.Repeat(" ", max(p.column-columns, 1)), value)
}

// or gives the items joined, or the word for any.
func (p *printer) or(list []string) string {
	if len(list) == 0 {
		return p.words[netsh.Any]
	}
	return strings.Join(list, ",")
}

// Show prints rules as show rule name=all does, with verbose or without, to the end.
func Show(lang string, rules []netsh.Rule, verbose bool) string {
	p := &printer{language: languages[lang]}
	for i := range rules {
		r := &rules[i]
		p.printf("%s", "\r\n")
		p.line(p.labels[name], r.Name)
		p.printf("%s", strings.Repeat("-", 70)+"\r\n")
		if verbose && r.Description != "" {
			p.line(p.labels[description], r.Description)
		}
		p.line(p.labels[enabled], p.words[r.Enabled])
		p.line(p.labels[dir], p.words[r.Dir])
		places := r.Profiles
		if len(places) == 0 {
			places = []netsh.Word{netsh.Domain, netsh.Private, netsh.Public}
		}
		var names []string
		for _, w := range places {
			names = append(names, p.words[w])
		}
		p.line(p.labels[profiles], strings.Join(names, ","))
		p.line(p.labels[grouping], r.Group)
		p.line(p.labels[localIP], p.or(r.Local))
		p.line(p.labels[remoteIP], p.or(r.Remote))
		p.line(p.labels[protocol], p.or(strings.Fields(r.Protocol)))
		if r.Protocol == "TCP" || r.Protocol == "UDP" {
			p.line(p.labels[localPort], p.or(r.LocalPorts))
			p.line(p.labels[remotePort], p.or(r.RemotePorts))
		}
		if r.Protocol == "ICMPv4" || r.Protocol == "ICMPv6" {
			p.messages(r.ICMP)
		}
		p.line(p.labels[edge], p.words[netsh.No])
		if verbose {
			if r.Program != "" {
				p.line(p.labels[program], r.Program)
			}
			if r.Service == "*" {
				p.line(p.labels[service], p.words[netsh.Any])
			} else if r.Service != "" {
				p.line(p.labels[service], r.Service)
			}
			p.line(p.labels[interfaces], p.or(r.Interfaces))
			secure := r.Security
			if secure == "" {
				secure = "NotRequired"
			}
			p.line(p.labels[security], secure)
			p.line(p.labels[source], p.labels[localSetting])
		}
		p.line(p.labels[action], p.words[r.Action])
	}
	p.printf("%s", p.end+"\r\n\r\n")
	return p.text.String()
}

// messages prints the table of ICMP below the protocol.
func (p *printer) messages(list []netsh.ICMP) {
	indent := strings.Repeat(" ", p.column)
	p.printf("%s%s\r\n", indent, p.labels[typeCode])
	if len(list) == 0 {
		p.printf("%s%-8s%s \r\n", indent, p.words[netsh.Any], p.words[netsh.Any])
	}
	for _, t := range list {
		code := p.words[netsh.Any]
		if t.Code >= 0 {
			code = strconv.Itoa(int(t.Code))
		}
		p.printf("%s%-8d%s \r\n", indent, t.Type, code)
	}
}

// Profiles prints the profiles as show allprofiles does, to the end.
func Profiles(lang string, list []netsh.Profile) string {
	p := &printer{language: languages[lang]}
	row := func(label, value string) { p.printf("%-38s%s\r\n", label, value) }
	for _, q := range list {
		p.printf("%s", "\r\n")
		p.printf(p.heading+"\r\n", p.headed[q.Name])
		p.printf("%s", strings.Repeat("-", 70)+"\r\n")
		row(p.state, map[netsh.Word]string{netsh.On: p.on, netsh.Off: p.off}[q.State])
		acts := map[netsh.Word]string{netsh.Allow: "Allow", netsh.Block: "Block"}
		always := ""
		if q.NoExceptions {
			always = "Always"
		}
		row(p.policy, acts[q.In]+"Inbound"+always+","+acts[q.Out]+"Outbound")
		row("LocalFirewallRules", "N/A (GPO-store only)")
		row("LocalConSecRules", "N/A (GPO-store only)")
		row("InboundUserNotification", p.no2)
		row("RemoteManagement", p.no2)
		row("UnicastResponseToMulticast", p.yes2)
		words := map[netsh.Word]string{netsh.Yes: p.yes2, netsh.No: p.no2}
		p.printf("%s", "\r\n"+p.logging+"\r\n")
		row("LogAllowedConnections", words[q.LogAllowed])
		row("LogDroppedConnections", words[q.LogDropped])
		row("FileName", q.LogFile)
		row("MaxFileSize", "4096")
		p.printf("%s", "\r\n")
	}
	p.printf("%s", p.end+"\r\n\r\n")
	return p.text.String()
}
