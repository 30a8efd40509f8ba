import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';

export function openBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
}

/** Horizon as one user sees it. Each page that is opened is kept as a picture. */
export class RatingPanels {
  readonly page: Page;
  readonly #url: string;
  readonly #pictures: string;

  private constructor(page: Page, url: string, pictures: string) {
    this.page = page;
    this.#url = url;
    this.#pictures = pictures;
  }

  static async logIn(
    browser: Browser,
    { url, pictures, user, password }: { url: string; pictures: string; user: string; password: string },
  ): Promise<RatingPanels> {
    const context = await browser.newContext({ viewport: { width: 1400, height: 1000 } });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    await page.goto(`${url}/auth/login/`);
    await page.fill('#id_username', user);
    await page.fill('#id_password', password);
    await Promise.all([
      page.waitForURL((to) => !to.pathname.startsWith('/auth/login')),
      page.press('#id_password', 'Enter'),
    ]);
    return new RatingPanels(page, url, pictures);
  }

  /** Opens a panel; fails on an error page and on a message in red. */
  async open(path: string, picture: string): Promise<void> {
    const response = await this.page.goto(`${this.#url}${path}`, { waitUntil: 'load' });
    assert.equal(response?.status(), 200, path);
    assert.doesNotMatch(await this.page.title(), /not found|unauthorized|wrong/i, path);
    assert.deepEqual(await this.page.locator('.messages .alert-danger').allInnerTexts(), [], path);
    await this.picture(picture);
  }

  /** Clicks a link that opens a form in a window, fills it in and sends it. */
  async submit(link: string, values: Readonly<Record<string, string>>, picture: string): Promise<void> {
    const { page } = this;
    const anchor = page.locator(link).first();
    const tab = await anchor.evaluate((element) => element.closest('.tab-pane')?.id);
    if (tab !== undefined && !(await anchor.isVisible()))
      await page.locator(`[data-target="#${tab}"]`).click();
    await anchor.click();
    const form = page.locator('.modal form');
    await form.locator('[type=submit]').waitFor();
    for (const [name, value] of Object.entries(values)) {
      const field = form.locator(`[name="${name}"]`);
      // Horizon hides some lists behind a widget of its own.
      if (await field.evaluate((element) => element.tagName === 'SELECT'))
        await field.selectOption(value, { force: true });
      else await field.fill(value);
    }
    await this.picture(picture);
    await Promise.all([page.waitForNavigation(), form.locator('[type=submit]').click()]);
    assert.deepEqual(await page.locator('.messages .alert-danger').allInnerTexts(), []);
  }

  async picture(name: string): Promise<void> {
    await this.page.screenshot({ path: join(this.#pictures, `${name}.png`) });
  }

  text(): Promise<string> {
    return this.page.locator('body').innerText();
  }
}
