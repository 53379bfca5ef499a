// Before anything is painted: the colours that somebody chose on this browser, else those of the system.
(function () {
  var chosen = null;
  try { chosen = localStorage.getItem("fastroute-theme"); } catch (error) { /* storage is off: the system's */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();

// Browsers give up what they load when the machine's network changes, and never ask for a module again.
(function () {
  function loadAgain() {
    setTimeout(function () {
      fetch("/healthz").then(function () { location.reload(); }, loadAgain);
    }, 1000);
  }
  addEventListener("error", function (event) {
    if (event.target instanceof HTMLScriptElement || event.target instanceof HTMLLinkElement) loadAgain();
  }, true);
})();
