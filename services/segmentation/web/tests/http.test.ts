import { expect, test } from "vitest";
import { errorOf, keepToken, sentenceCase, tokenHeaders } from "../src/core/http";

test("a problem document is shown as its sentence", () => {
  const text = JSON.stringify({
    type: "urn:hanseg:problem:bad-image",
    title: "Bad",
    detail: "ct: it holds no Hounsfield units",
  });
  const error = errorOf(422, text);
  expect(error.detail).toBe("Ct: it holds no Hounsfield units.");
  expect(error.kind).toBe("bad-image");
});

test("what is no problem document says its status", () => {
  expect(errorOf(502, "<html>").detail).toContain("502");
});

test("a sentence begins and ends as one", () => {
  expect(sentenceCase("the disk is full")).toBe("The disk is full.");
  expect(sentenceCase("Really?")).toBe("Really?");
});

test("the token goes with what changes something, and with nothing else", () => {
  keepToken("abc");
  expect(tokenHeaders("DELETE")).toEqual({ "X-CSRF-Token": "abc" });
  expect(tokenHeaders("get")).toEqual({});
  keepToken(null);
  expect(tokenHeaders("POST")).toEqual({});
});
