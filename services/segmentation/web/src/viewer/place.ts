/** Positions and values in words, by the patient's own sides. */

/** Say where a point is: millimetres to the patient's left, back and head (RAS in). */
export function describePlace(ras: ArrayLike<number>): string {
  return [
    side(ras[0] ?? 0, "R", "L"),
    side(ras[1] ?? 0, "A", "P"),
    side(ras[2] ?? 0, "S", "I"),
  ].join("  ");
}

function side(mm: number, positive: string, negative: string): string {
  const whole = Math.round(mm);
  return `${whole < 0 ? negative : positive} ${Math.abs(whole)}`;
}

/** A volume, with as many figures as it deserves. */
export function describeVolume(ml: number): string {
  if (ml <= 0) return "–";
  if (ml < 1) return `${ml.toFixed(2)} ml`;
  return ml < 10 ? `${ml.toFixed(1)} ml` : `${Math.round(ml)} ml`;
}
