package web

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/oldguard/oldguard/internal/fleet/access"
)

// accountRoutes are one's own account, and for administrators everybody's.
func (s *Server) accountRoutes() []Route {
	return []Route{
		{"GET", "/account", access.See, false, "one's own account: password, sessions, tokens", s.accountPage},
		{"POST", "/account/password", access.See, false, "change one's own password", s.changePassword},
		{"POST", "/account/sessions/end", access.See, false, "end one's other sessions", s.endSessions},
		{"POST", "/account/tokens", access.See, false, "make a token", s.makeToken},
		{"POST", "/account/tokens/{id}/revoke", access.See, false, "end a token of one's own, or anybody's for an administrator", s.revokeToken},
		{"GET", "/settings", access.Manage, false, "people and tokens", s.settingsPage},
		{"POST", "/settings/people", access.Manage, false, "add a person", s.addPerson},
		{"POST", "/settings/people/{id}", access.Manage, false, "change a person", s.editPerson},
		{"GET", "/audit", access.Manage, false, "the audit log", s.auditPage},
	}
}

// accountData is what the page of one's own account shows.
type accountData struct {
	User     access.User
	Sessions []access.Session
	This     string // digest of the session in use
	Tokens   []access.Token
	Fresh    string // the secret of a token just made: shown this once
	Scopes   []access.Permission
	Now      time.Time
	Wrong    string
	Done     string
}

func (s *Server) accountPage(w http.ResponseWriter, r *http.Request) {
	s.account(w, r, http.StatusOK, accountData{})
}

func (s *Server) account(w http.ResponseWriter, r *http.Request, status int, d accountData) {
	v := visitOf(r.Context())
	d.This, d.Now = v.session.Digest, s.Now()
	for _, p := range access.Permissions() {
		if v.who.May(p) {
			d.Scopes = append(d.Scopes, p)
		}
	}
	if !s.Insecure {
		var err1, err2, err3 error
		d.User, err1 = s.Guard.Store.User(r.Context(), v.who.User)
		d.Sessions, err2 = s.Guard.Store.Sessions(r.Context(), v.who.User, d.Now)
		d.Tokens, err3 = s.Guard.Store.Tokens(r.Context(), v.who.User)
		if err := errors.Join(err1, err2, err3); err != nil {
			s.fault(w, r, err)
			return
		}
	}
	s.show(w, r, status, accountView(s.frame(r, "Account", "/account"), d))
}

// outcome shows a page again after a change: with what went wrong, or what was done.
func outcome(err error, done string) (status int, wrong, did string, fault bool) {
	switch {
	case err == nil:
		return http.StatusOK, "", done, false
	case access.Expected(err):
		return http.StatusUnprocessableEntity, sentence(err.Error()), "", false
	}
	return 0, "", "", true
}

func (s *Server) changePassword(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r) {
		return
	}
	v := visitOf(r.Context())
	err := s.Guard.ChangePassword(r.Context(), v.who, r.PostFormValue("old"), r.PostFormValue("password"), v.address)
	if errors.Is(err, access.ErrLogin) {
		err = access.InputError{Text: "the old password is wrong"}
	}
	status, wrong, done, fault := outcome(err, "The password is changed; your other sessions have ended.")
	if fault {
		s.fault(w, r, err)
		return
	}
	s.account(w, r, status, accountData{Wrong: wrong, Done: done})
}

func (s *Server) endSessions(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r.Context())
	if err := s.Guard.EndOthers(r.Context(), v.who, v.address); err != nil {
		s.fault(w, r, err)
		return
	}
	redirect(w, r, "/account")
}

func (s *Server) makeToken(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r) {
		return
	}
	v := visitOf(r.Context())
	var scopes access.Scopes
	for _, word := range r.PostForm["scope"] {
		one, err := access.ParseScopes(word)
		if err != nil {
			s.account(w, r, http.StatusUnprocessableEntity, accountData{Wrong: sentence(err.Error())})
			return
		}
		scopes = append(scopes, one...)
	}
	days, err := strconv.Atoi(r.PostFormValue("days"))
	if err != nil {
		days = 0
	}
	secret, _, err := s.Guard.NewToken(r.Context(), v.who, r.PostFormValue("name"), scopes, time.Duration(days)*24*time.Hour, v.address)
	status, wrong, _, fault := outcome(err, "")
	if fault {
		s.fault(w, r, err)
		return
	}
	s.account(w, r, status, accountData{Wrong: wrong, Fresh: secret.Reveal()})
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r.Context())
	id, ok := s.id(w, r)
	if !ok {
		return
	}
	err := s.Guard.RevokeToken(r.Context(), v.who, id, v.address)
	switch {
	case errors.Is(err, access.ErrNotFound):
		s.problem(w, r, http.StatusNotFound, "there is no such token")
	case err != nil:
		s.fault(w, r, err)
	case r.FormValue("back") == "settings":
		redirect(w, r, "/settings")
	default:
		redirect(w, r, "/account")
	}
}

// id reads the number in a path; it answers and gives false where there is none.
func (s *Server) id(w http.ResponseWriter, r *http.Request) (int64, bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id <= 0 {
		s.problem(w, r, http.StatusNotFound, "there is nothing of that number")
		return 0, false
	}
	return id, true
}

// settingsData is what the page of settings shows.
type settingsData struct {
	Users       []access.User
	Tokens      []access.Token
	Names       map[int64]string
	Roles       []access.Role
	Now         time.Time
	Wrong, Done string
}

func (s *Server) settingsPage(w http.ResponseWriter, r *http.Request) {
	s.settings(w, r, http.StatusOK, settingsData{})
}

func (s *Server) settings(w http.ResponseWriter, r *http.Request, status int, d settingsData) {
	var err1, err2 error
	d.Users, err1 = s.Guard.Store.Users(r.Context())
	d.Tokens, err2 = s.Guard.Store.Tokens(r.Context(), 0)
	if err := errors.Join(err1, err2); err != nil {
		s.fault(w, r, err)
		return
	}
	d.Names, d.Roles, d.Now = map[int64]string{}, access.Roles(), s.Now()
	for _, u := range d.Users {
		d.Names[u.ID] = u.Name
	}
	s.show(w, r, status, settingsView(s.frame(r, "Settings", "/settings"), d))
}

func (s *Server) addPerson(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r) {
		return
	}
	v := visitOf(r.Context())
	role, err := access.ParseRole(r.PostFormValue("role"))
	if err == nil {
		_, err = s.Guard.NewUser(r.Context(), v.who, r.PostFormValue("name"), r.PostFormValue("full"), r.PostFormValue("password"), role, v.address)
	}
	status, wrong, done, fault := outcome(err, "The account is made: tell the person the password, who can change it under the name at the top.")
	if fault {
		s.fault(w, r, err)
		return
	}
	s.settings(w, r, status, settingsData{Wrong: wrong, Done: done})
}

func (s *Server) editPerson(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r) {
		return
	}
	id, ok := s.id(w, r)
	if !ok {
		return
	}
	v := visitOf(r.Context())
	var e access.UserEdit
	var err error
	if word := r.PostFormValue("role"); word != "" {
		var role access.Role
		role, err = access.ParseRole(word)
		e.Role = &role
	}
	if word := r.PostFormValue("disabled"); word != "" {
		disabled := word == "yes"
		e.Disabled = &disabled
	}
	if password := r.PostFormValue("password"); password != "" {
		e.Password = &password
	}
	if err == nil {
		_, err = s.Guard.EditUser(r.Context(), v.who, id, e, v.address)
	}
	if errors.Is(err, access.ErrNotFound) {
		s.problem(w, r, http.StatusNotFound, "there is no such person")
		return
	}
	status, wrong, done, fault := outcome(err, "The account is changed.")
	if fault {
		s.fault(w, r, err)
		return
	}
	s.settings(w, r, status, settingsData{Wrong: wrong, Done: done})
}

// auditData is what the page of the audit log shows.
type auditData struct {
	Entries    []access.Entry
	By, Action string
	Older      int64 // id for the next page; 0 on the last
}

// auditPageSize is how many lines a page of the log has.
const auditPageSize = 100

func (s *Server) auditPage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	before, err := strconv.ParseInt(q.Get("before"), 10, 64)
	if err != nil {
		before = 0
	}
	d := auditData{By: q.Get("by"), Action: q.Get("action")}
	d.Entries, err = s.Guard.Store.AuditLog(r.Context(), access.EntryQuery{By: d.By, Action: d.Action, Before: before, Limit: auditPageSize})
	if err != nil {
		s.fault(w, r, err)
		return
	}
	if len(d.Entries) == auditPageSize {
		d.Older = d.Entries[len(d.Entries)-1].ID
	}
	s.show(w, r, http.StatusOK, auditView(s.frame(r, "Audit log", "/settings"), d))
}
