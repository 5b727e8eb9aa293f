/** Files that were dropped, those of folders too. */

/** A file with the folders it lay in, such as `case_01/CT`. */
const folders = new WeakMap<File, string>();

/** The folders a file lay in; empty for a file that was dropped or chosen alone. */
export function folderOf(file: File): string {
  const chosen = (file.webkitRelativePath ?? "").split("/").slice(0, -1).join("/");
  return folders.get(file) ?? chosen;
}

/** Whether files are being dragged. */
export function hasFiles(transfer: DataTransfer | null): boolean {
  return transfer?.types.includes("Files") ?? false;
}

/** Return all files of what was dropped. */
export async function droppedFiles(transfer: DataTransfer): Promise<File[]> {
  const entries = [...transfer.items]
    .map((item) => item.webkitGetAsEntry())
    .filter((entry) => entry !== null);
  if (entries.length === 0) return [...transfer.files];
  const found = await Promise.all(entries.map((entry) => filesOf(entry, "")));
  return found.flat();
}

async function filesOf(entry: FileSystemEntry, folder: string): Promise<File[]> {
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    folders.set(file, folder);
    return [file];
  }
  const within = folder ? `${folder}/${entry.name}` : entry.name;
  const children = await readAll((entry as FileSystemDirectoryEntry).createReader());
  const found = await Promise.all(children.map((child) => filesOf(child, within)));
  return found.flat();
}

async function readAll(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  const found: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return found; // it gives a hundred at a time
    found.push(...some);
  }
}
