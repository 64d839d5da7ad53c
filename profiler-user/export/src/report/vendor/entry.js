// What the report uses of the libraries; see README.md.
import {areaY, axisX, axisY, barX, lineY, plot, rectY, ruleX, ruleY, text, textX} from "@observablehq/plot";
import {layout, graphlib} from "@dagrejs/dagre";
import {curveBasis, line} from "d3-shape";

globalThis.vendor = {areaY, axisX, axisY, barX, curveBasis, graphlib, layout, line, lineY, plot, rectY, ruleX, ruleY, text, textX};
