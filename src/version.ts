/** That of package.json: a test holds both equal. */
export const version = '0.1.0'
