"""What is wrong with a page as a browser shows it: text outside its box, foreign words, and barriers."""

from __future__ import annotations

import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SERIOUS = ("serious", "critical")
ARABIC_DIGITS = re.compile("[٠-٩۰-۹]")

TEXT_OUT_OF_ITS_BOX = """() => {
  const wide = document.documentElement.clientWidth;
  const found = new Set();
  const pen = document.createElement("canvas").getContext("2d");
  const isShut = (style) => style.overflowX === "hidden" || style.overflowX === "clip";
  const canScroll = (style) => style.overflowX === "auto" || style.overflowX === "scroll";
  const isOut = (text, left, right) => text.left < left - 1.5 || text.right > right + 1.5;
  const tell = (what, element, text) => {
    found.add(`${what}: <${element.tagName.toLowerCase()} class="${element.className}"> ${text.trim().slice(0, 60)}`);
  };

  const look = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    const boxes = [...range.getClientRects()].filter((box) => box.width > 0);
    let isBlockFound = false;
    let canBeReached = false;
    for (let element = node.parentElement; element; element = element.parentElement) {
      const style = getComputedStyle(element);
      if (style.clipPath !== "none" || element.classList.contains("skip")) { return; }
      const box = element.getBoundingClientRect();
      canBeReached = canBeReached || canScroll(style);
      const isInline = style.display === "inline" || style.display === "contents";
      if (!isInline && !isBlockFound) {
        isBlockFound = true;
        const isWider = !canBeReached && boxes.some((one) => isOut(one, box.left, box.right));
        if (isWider) { tell("wider than its box", element, node.data); }
      }
      if (isShut(style) && !canBeReached && boxes.some((one) => isOut(one, box.left, box.right))) {
        tell("cut off by", element, node.data);
      }
    }
    const isOff = !canBeReached && boxes.some((one) => isOut(one, 0, wide));
    if (isOff) { tell("off the page", node.parentElement, node.data); }
  };

  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const isSeen = node.parentElement.checkVisibility({ visibilityProperty: true });
    if (isSeen && node.data.trim() && !["OPTION", "TEXTAREA"].includes(node.parentElement.tagName)) { look(node); }
  }

  const unwritten = ["checkbox", "date", "datetime-local", "file", "hidden", "number", "radio"];
  for (const field of document.querySelectorAll("select, input")) {
    if (!field.checkVisibility() || unwritten.includes(field.type)) { continue; }
    const style = getComputedStyle(field);
    const isChoice = field.tagName === "SELECT";
    const text = isChoice ? field.selectedOptions[0]?.text || "" : field.value || field.placeholder || "";
    pen.font = isChoice || field.value ? style.font : getComputedStyle(field, "::placeholder").font;
    const room = field.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) + 1;
    if (pen.measureText(text).width > room) { tell("longer than its field", field, text); }
  }
  return [...found];
}"""
"""Every text that the page shows, against the block that it stands in, all that could cut it off, and the page."""

WORDS_LEFT_IN_LATIN = """() => {
  const found = new Set();
  const apart = "bdi, code, pre, .ref, [dir=ltr], [lang]:not(html), script, style, option";
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const isApart = node.parentElement.closest(apart);
    if (!isApart && /[A-Za-z]{3,}/.test(node.data)) { found.add(node.data.trim().slice(0, 80)); }
  }
  return [...found];
}"""
"""Texts of an Arabic page with Latin letters that nothing sets apart: untranslated, or mixed."""


def misfits(page: Page) -> list[str]:
    """Texts that are cut off, wider than their box, or off the page."""
    found: list[str] = page.evaluate(TEXT_OUT_OF_ITS_BOX)
    return found


def left_in_latin(page: Page, known: re.Pattern[str]) -> list[str]:
    """On an Arabic page, texts with Latin words that are not `known` and not set apart from the text around them."""
    found: list[str] = page.evaluate(WORDS_LEFT_IN_LATIN)
    return [text for text in found if re.search("[A-Za-z]{3,}", known.sub("", text))]


def wrong_digits(page: Page) -> list[str]:
    """Digits other than 0 to 9: every number is written with these, in every language."""
    return ARABIC_DIGITS.findall(page.inner_text("body"))


def barriers(page: Page) -> list[str]:
    """What axe-core calls serious or critical, each with the first element that it concerns."""
    told = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in told if one["impact"] in SERIOUS]
