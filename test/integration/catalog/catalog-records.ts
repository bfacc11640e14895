/** The JSON text of a record that the catalog takes, with `more` laid over it. */
export function recordBody(id: string, more: Record<string, unknown> = {}): string {
  return JSON.stringify({
    id,
    productName: `model ${id}`,
    links: [{ name: id, protocol: '3DTiles', url: `http://tiles.test/${id}/tileset.json` }],
    ...more,
  });
}
