// Before anything is painted: the colours that somebody chose on this browser, else those of the system.
(function () {
  var chosen = null;
  try { chosen = localStorage.getItem("fastroute-theme"); } catch (error) { /* storage is off: the system's */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
