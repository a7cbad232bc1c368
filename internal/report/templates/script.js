(function () {
  "use strict";
  document.querySelectorAll("form.find").forEach(function (form) {
    var box = form.querySelector("input"), out = form.querySelector("output");
    var part = form.parentElement;
    form.hidden = false;
    form.addEventListener("submit", function (e) { e.preventDefault(); });
    box.addEventListener("input", function () {
      var want = box.value.trim().toLowerCase(), n = 0;
      part.querySelectorAll("details.group").forEach(function (g) {
        var whole = want && g.firstElementChild.textContent.toLowerCase().includes(want), any = false;
        g.querySelectorAll("tbody tr").forEach(function (r) {
          var hit = !want || whole || r.textContent.toLowerCase().includes(want);
          r.hidden = !hit;
          if (hit) { any = true; n++; }
        });
        g.hidden = !any;
        g.open = Boolean(want) && any;
      });
      part.querySelectorAll("details.year").forEach(function (y) {
        y.hidden = !y.querySelector("details.group:not([hidden])");
        y.open = Boolean(want) && !y.hidden;
      });
      out.textContent = want ? n + " found" : "";
    });
  });
})();
