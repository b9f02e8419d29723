// Entry of the pages' scripts. Pages read and save without any of them.
import { connect } from "./live.js";
import { palette } from "./palette.js";
import { shortcuts } from "./shortcuts.js";
import { theme } from "./theme.js";
import { boxes, copying, errors, leaving } from "./ui.js";
import { localTimes } from "./times.js";

copying();
boxes();
errors();
leaving();
localTimes();
theme();
shortcuts(palette());
if ("liveOn" in document.body.dataset) connect();
