/** Which inputs of the filter are in sight: those that its mode uses. */

/** The modes that use an input; inputs that are not named here are always shown. @type {Record<string, string[]>} */
const USED_IN = {
  keep: ["keep_best"],
  percentile: ["percentile", "reference"],
  threshold: ["threshold"],
  across_prompts: ["reference"],
};

/**
 * Hide the inputs that the mode does not use, now and whenever it changes. While a link gives the mode, all are shown, and a linked
 * input is never hidden.
 *
 * @param {import("../adapter/node_host.js").NodeHost} host
 */
export function showFieldsOfMode(host) {
  const show = () => {
    const mode = String(host.get("mode"));
    for (const [name, modes] of Object.entries(USED_IN)) {
      host.setShown(name, modes.includes(mode) || host.isLinked(name) || host.isLinked("mode"));
    }
  };
  host.onValue(show);
  host.onWiring(show);
  host.onRestored(show);
  show();
}
